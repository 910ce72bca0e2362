"""Users of the MDM. On 4.x and newer they are users of PowerFlex Manager, see /rest/v1/users."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import missing_parameters, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.model import User
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.resources.resource_type import Action, ResourceType, View, parent_link, self_link

ROLES = ("Monitor", "Configure", "Administrator", "Superuser", "Security", "FrontendConfig", "BackendConfig")


def view(array: Array, user: User) -> View:
    """The object as the gateway shows it."""
    return {
        "id": user.id,
        "name": user.name,
        "systemId": array.system.id,
        "userRole": user.role,
        "passwordChangeRequired": False,
        "links": [self_link("User", user.id), parent_link("System", array.system.id, "systemId")],
    }


def _create(array: Array, body: Body) -> View:
    used = {user.name for user in array.users.values()}
    name = free_name(body.required("name"), used, uncoded_error("The user name is already in use"))
    user = User(id=array.new_id(array.users), name=name, role=_role(body), password=body.required("password"))
    array.put(user)
    return {"id": user.id}


def _role(body: Body) -> str:
    role = body.choice("userRole", ROLES)
    if role is None:
        raise missing_parameters("userRole")
    return role


def _set_role(array: Array, user: User, body: Body) -> View:
    array.change(user, role=_role(body))
    return {}


def _remove(array: Array, user: User, _: Body) -> View:
    if user.name == array.settings.username:
        raise uncoded_error("The administrator user cannot be removed")
    array.drop(user)
    return {}


RESOURCE_TYPE: ResourceType[User] = ResourceType(
    name="User",
    listed="userList",
    objects=lambda array: array.users,
    view=view,
    missing=0,
    create=_create,
    actions={"setUserRole": Action(_set_role), "removeUser": Action(_remove)},
)
