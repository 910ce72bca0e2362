"""The command line as an operator meets it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from csi_powerflex import __version__
from csi_powerflex.cli.main import RoleGroup, main
from tests.commands import output_of

PASSWORD = "hunter2-secret"
SYSTEMS = f"""\
systems:
  - endpoints: [https://gateway.example]
    username: admin
    password: {PASSWORD}
"""


def run(*arguments: str, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), env=dict(env or {}), prog_name="csi-powerflex")


def run_process(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "csi_powerflex", *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def systems(tmp_path: Path) -> Path:
    path = tmp_path / "systems.yaml"
    path.write_text(SYSTEMS, encoding="utf-8")
    return path


def controller(systems: Path, replaced: Mapping[str, str] | None = None) -> list[str]:
    """Arguments that would start a controller, some of them replaced; the socket's folder does not exist."""
    options = {
        "endpoint": f"unix://{systems.parent}/absent/csi.sock",
        "systems": str(systems),
        "cluster-id": "k8s1",
        **(replaced or {}),
    }
    return ["controller", *(f"--{name}={value}" for name, value in options.items())]


_FOLDER = Path(sys.modules[RoleGroup.__module__].__file__ or "").parent
COMMANDS = sorted(
    role for role in RoleGroup.ROLES if (_FOLDER / f"{role}.py").exists() or (_FOLDER / role).is_dir()
)
OF_THE_DOCTOR = ["doctor controller", "doctor node"]
OF_THE_INVENTORY = [
    *(f"volumes {name}" for name in ("list", "show", "orphans", "import", "release")),
    *(f"volumes {name}" for name in ("revert", "trash", "undelete")),
    *(f"snapshots {name}" for name in ("list", "show", "orphans", "import", "unlock")),
]
OF_THE_MOVER = [f"mover {name}" for name in ("copy", "import", "export", "inspect")]
OF_GROUPS = OF_THE_DOCTOR + OF_THE_INVENTORY + OF_THE_MOVER
# What changes something is asked for each time.
NOT_IN_THE_ENVIRONMENT = {
    *((f"volumes {name}", "yes") for name in ("release", "revert", "undelete")),
    *((f"snapshots {name}", "yes") for name in ("import", "unlock")),
    ("volumes revert", "take-over"),
}


def command(name: str) -> click.Command:
    """The command of that name: one word, or two for a command of a group."""
    found: click.Command | None = main
    for word in name.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    return found


def options_of(name: str) -> list[click.Option]:
    return [found for found in command(name).params if isinstance(found, click.Option)]


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_command(flag: str) -> None:
    result = run(flag)
    assert result.exit_code == 0
    assert result.output.startswith("Usage: csi-powerflex ")
    for role, meaning in RoleGroup.ROLES.items():
        assert role in result.output
        assert meaning in " ".join(result.output.split())


def test_without_a_command_the_help_is_shown() -> None:
    result = run()
    assert "Commands:" in result.output


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("name", COMMANDS + OF_GROUPS)
def test_each_command_has_help_for_each_of_its_options(name: str, flag: str) -> None:
    result = run(*name.split(), flag)
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: csi-powerflex {name} [OPTIONS]")
    for option in options_of(name):
        assert option.help
        assert option.opts[0] in result.output


@pytest.mark.parametrize("name", COMMANDS + OF_GROUPS)
def test_each_command_has_the_name_in_the_list(name: str) -> None:
    assert {"controller", "doctor", "version"} <= set(COMMANDS)
    assert command(name).name == name.rsplit(maxsplit=1)[-1]


@pytest.mark.parametrize("name", ["volumes", "snapshots"])
def test_every_command_of_the_inventory_is_checked(name: str) -> None:
    group = command(name)
    assert isinstance(group, click.Group)
    checked = {found for found in OF_THE_INVENTORY if found.startswith(f"{name} ")}
    assert {f"{name} {word}" for word in group.commands} == checked


def test_the_doctor_lists_its_commands() -> None:
    group = command("doctor")
    assert isinstance(group, click.Group)
    assert [f"doctor {name}" for name in group.list_commands(click.Context(group))] == OF_THE_DOCTOR
    for name in OF_THE_DOCTOR:
        assert name.split()[1] in run("doctor", "--help").output
    assert "No such command 'nod'" in run("doctor", "nod").output


def test_help_is_shown_without_loading_any_role() -> None:
    code = """
import sys
from csi_powerflex.cli.main import main
main(["--help"], standalone_mode=False)
print(sorted({"grpc", "requests", "rich", "yaml"} & sys.modules.keys()))
"""
    assert output_of([sys.executable, "-c", code]).splitlines()[-1] == "[]"


def test_the_error_names_an_unknown_command() -> None:
    result = run("controlr")
    assert result.exit_code == 2
    assert "No such command 'controlr'" in result.output
    assert "Traceback" not in result.output


def test_version_shows_the_driver_and_the_protocol() -> None:
    result = run("version")
    assert result.exit_code == 0
    expected = rf"csi-powerflex {re.escape(__version__)} \(CSI 1\.13\.0, Python 3\.\d+\.\d+\S*\)\n"
    assert re.fullmatch(expected, result.output)
    assert run("--version").output == f"csi-powerflex, version {__version__}\n"


# --- options from the environment ----------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS + OF_GROUPS)
def test_no_variable_of_the_driver_has_the_prefix_that_csi_reserves(name: str) -> None:
    # Specification, "Configuration and operation": CSI_ is for the variables that it defines.
    for option in options_of(name):
        prefix = "POWERFLEX_CSI_" if option.allow_from_autoenv else "None"
        assert option.envvar == "CSI_ENDPOINT" or str(option.envvar).startswith(prefix)


def test_every_option_can_be_set_in_the_environment(systems: Path) -> None:
    result = run_process(
        "controller",
        env={
            "CSI_ENDPOINT": f"unix://{systems.parent}/absent/csi.sock",
            "POWERFLEX_CSI_CONTROLLER_SYSTEMS": str(systems),
            "POWERFLEX_CSI_CONTROLLER_CLUSTER_ID": "k8s1",
            "POWERFLEX_CSI_CONTROLLER_DRIVER_NAME": "csi.example.org",
            "POWERFLEX_CSI_CONTROLLER_LOG_LEVEL": "debug",
            "POWERFLEX_CSI_CONTROLLER_LOG_FORMAT": "json",
        },
    )
    started, error = result.stderr.splitlines()
    assert json.loads(started)["driver_name"] == "csi.example.org"
    assert error == f"Error: the folder {systems.parent}/absent of the CSI socket does not exist"
    assert result.returncode == 1


@pytest.mark.parametrize("name", COMMANDS + OF_GROUPS)
def test_help_shows_the_variable_of_each_option_which_has_the_option_in_its_name(name: str) -> None:
    help_text = "".join(run(*name.split(), "--help", env={"COLUMNS": "400"}).output.split())
    for option in options_of(name):
        long = next(flag for flag in option.opts if flag.startswith("--"))[2:]
        # How to reach arrays and Kubernetes is the same as for the controller, in its container for example.
        roles = (name, "controller") if name in OF_THE_INVENTORY else (name,)
        variables = [re.sub("[ -]", "_", f"POWERFLEX_CSI_{role}_{long}").upper() for role in roles]
        if option.allow_from_autoenv:
            assert option.envvar in ("CSI_ENDPOINT", *variables)
            assert f"envvar:{option.envvar}" in help_text
        else:
            assert ((name, long) in NOT_IN_THE_ENVIRONMENT, option.envvar) == (True, None)


def test_the_variable_of_a_switch_is_named_as_the_option(systems: Path) -> None:
    result = run(*controller(systems), env={"POWERFLEX_CSI_CONTROLLER_KUBERNETES": "true"})
    assert "Kubernetes" in result.output
    assert "no option of this command" not in result.output


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("POWERFLEX_CSI_CONTROLLER_LOG_LEVL", "did you mean POWERFLEX_CSI_CONTROLLER_LOG_LEVEL?"),
        ("POWERFLEX_CSI_CONTROLER_LOG_LEVEL", "did you mean POWERFLEX_CSI_CONTROLLER_LOG_LEVEL?"),
        ("POWERFLEX_CSI_LOG_LEVEL", "--help shows the variable of each option"),
        ("POWERFLEX_CSI_CONTROLLER_DRV_CFG", "--help shows the variable of each option"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_similar_one(systems: Path, name: str, hint: str) -> None:
    result = run(*controller(systems), env={name: "debug"})
    assert result.exit_code == 2
    text = " ".join(result.output.split())
    assert f"no option of this command has the environment variable {name}" in text
    assert hint in text


@pytest.mark.parametrize(
    "name",
    [
        "POWERFLEX_CSI_NODE_LOG_LEVEL",
        "POWERFLEX_CSI_SERVICE_HOST",
        "POWERFLEX_CSI_CONTROLLER_METRICS_SERVICE_PORT_HTTP",
        "POWERFLEX_CSI_CONTROLLER_METRICS_PORT_9808_TCP_ADDR",
        "POWERFLEX_CSI_CONTROLLER_METRICS_PORT",
        "CSI_POWERFLEX_CONTROLLER_LOG_LEVL",
    ],
)
def test_variables_of_other_roles_and_of_kubernetes_services_are_left_alone(systems: Path, name: str) -> None:
    result = run(*controller(systems), env={name: "tcp://10.0.0.1:9808"})
    assert "of the CSI socket does not exist" in result.output


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("POWERFLEX_CSI_DOCTOR_CONTROLLER_SYSTEM", True),
        ("POWERFLEX_CSI_DOCTOR_SYSTEMS", True),
        ("POWERFLEX_CSI_DOCTOR_NODE_SYSTEM", False),
        ("POWERFLEX_CSI_CONTROLLER_CLUSTER_ID", False),
    ],
)
def test_a_command_of_a_group_refuses_its_own_misspelt_variables(
    systems: Path, name: str, *, refused: bool
) -> None:
    systems.write_text("systems: [", encoding="utf-8")
    result = run("doctor", "controller", "--systems", str(systems), env={name: "x"})
    assert ("no option of this command has the environment variable" in result.output) == refused
    assert result.exit_code == (2 if refused else 1)


def test_help_is_shown_despite_a_misspelt_variable(systems: Path) -> None:
    assert run("controller", "--help", env={"POWERFLEX_CSI_CONTROLLER_LOG_LEVL": "x"}).exit_code == 0


def test_an_option_of_the_doctor_can_be_set_in_the_environment(systems: Path) -> None:
    systems.write_text("systems: [", encoding="utf-8")
    # A table would break a long path over several lines.
    settings = {"POWERFLEX_CSI_DOCTOR_CONTROLLER_SYSTEMS": str(systems)}
    result = run("doctor", "controller", "--output=json", env=settings)
    assert result.exit_code == 1
    assert str(systems) in result.output


def test_an_option_on_the_command_line_overrides_the_environment(systems: Path) -> None:
    result = run(
        *controller(systems, {"cluster-id": "toolong"}), env={"POWERFLEX_CSI_CONTROLLER_CLUSTER_ID": "k8s1"}
    )
    assert "not 'toolong'" in result.output


# --- mistakes ------------------------------------------------------------------------------------


def test_a_mistake_in_the_systems_file_is_one_line_on_standard_error(systems: Path) -> None:
    systems.write_text(SYSTEMS.replace("username", "usrname"), encoding="utf-8")
    result = run_process(*controller(systems))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: {systems}: systems[0]: unknown key 'usrname'; did you mean 'username'?\n"


@pytest.mark.parametrize(
    "content", ["systems: [", f"systems: [{{password: {PASSWORD}, x: @}}]", "systems: []"]
)
def test_no_mistake_gives_a_traceback_or_shows_the_password(systems: Path, content: str) -> None:
    systems.write_text(content, encoding="utf-8")
    result = run_process(*controller(systems))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"Error: {systems}: ")
    assert PASSWORD not in result.stderr


@pytest.mark.parametrize(
    ("replaced", "code", "message"),
    [
        ({"systems": "/absent.yaml"}, 1, "Error: /absent.yaml: cannot be read: No such file or directory"),
        ({"cluster-id": "K8S1"}, 1, "Error: a cluster id is four characters of a-z and 0-9, not 'K8S1'"),
        ({"endpoint": "tcp://127.0.0.1:1"}, 1, "Error: the CSI endpoint must be a unix socket"),
        ({"endpoint": "unix:///" + "x" * 200}, 1, "Error: the path of the CSI socket has 201 bytes"),
        ({"driver-name": "not a name"}, 2, "'not a name' is not usable; give at most 63 letters, digits"),
        ({"driver-name": "x" * 64}, 2, "is not usable; give at most 63 letters, digits"),
        ({"driver-name": "-x"}, 2, "beginning and ending with a letter or digit"),
        ({"log-level": "loud"}, 2, "'loud' is not one of 'debug', 'info', 'warning', 'error'"),
        ({"log-format": "xml"}, 2, "'xml' is not one of 'text', 'json'"),
    ],
)
def test_the_error_for_a_wrong_value_shows_the_right_ones(
    systems: Path, replaced: dict[str, str], code: int, message: str
) -> None:
    result = run(*controller(systems, replaced))
    assert message in result.stderr
    assert result.exit_code == code
    assert "Traceback" not in result.output


def test_mappings_cannot_be_removed_where_the_nodes_of_the_cluster_are_not_read(systems: Path) -> None:
    done = run(*controller(systems), "--remove-stale-mappings")
    assert done.exit_code == 1
    assert "Error: --remove-stale-mappings needs --kubernetes" in done.output


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (("--zone=a b",), {}, "'a b' is not usable; give at most 63 letters"),
        (("--zone=",), {}, "'' is not usable"),
        (("--zone=a", "--zone-file=/zone"), {}, "--zone and --zone-file are both given"),
        ((), {"POWERFLEX_CSI_NODE_ZONE": "a", "POWERFLEX_CSI_NODE_ZONE_FILE": "/zone"}, "are both given"),
        ((), {"POWERFLEX_CSI_NODE_ZONE": ""}, "POWERFLEX_CSI_NODE_ZONE is empty; give it a value"),
        ((), {"POWERFLEX_CSI_NODE_ZONE_FILE": ""}, "POWERFLEX_CSI_NODE_ZONE_FILE is empty"),
    ],
)
def test_a_zone_that_cannot_be_one_stops_the_node(
    arguments: tuple[str, ...], variables: dict[str, str], message: str
) -> None:
    """A variable made from a label that the node does not have is empty, and must not mean "no zone"."""
    result = run("node", "--endpoint=unix:///absent/csi.sock", *arguments, env=variables)
    assert message in " ".join(result.stderr.split())
    assert result.exit_code == 2


@pytest.mark.parametrize("missing", ["endpoint", "systems", "cluster-id"])
def test_the_error_names_a_missing_option(systems: Path, missing: str) -> None:
    arguments = [argument for argument in controller(systems) if not argument.startswith(f"--{missing}=")]
    result = run(*arguments, env={"CSI_ENDPOINT": ""})
    assert result.exit_code == 2
    assert f"Missing option '--{missing}'" in result.output


def test_a_file_in_place_of_the_socket_is_not_changed(systems: Path) -> None:
    result = run_process(*controller(systems, {"endpoint": f"unix://{systems}"}))
    assert result.returncode == 1
    started, error = result.stderr.splitlines()
    assert "csi-powerflex started" in started
    assert error == f"Error: {systems} exists and is not a socket; it was not changed"
    assert systems.read_text(encoding="utf-8") == SYSTEMS
