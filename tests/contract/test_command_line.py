"""The command line as an operator meets it."""

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


COMMANDS = sorted(
    role
    for role in RoleGroup.ROLES
    if Path(sys.modules[RoleGroup.__module__].__file__ or "").with_name(f"{role}.py").exists()
)


def command(name: str) -> click.Command:
    found = RoleGroup().get_command(click.Context(main), name)
    assert found is not None
    return found


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
@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_for_each_of_its_options(name: str, flag: str) -> None:
    result = run(name, flag)
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: csi-powerflex {name} [OPTIONS]")
    for option in command(name).params:
        assert isinstance(option, click.Option)
        assert option.help
        assert option.opts[0] in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_the_name_in_the_list(name: str) -> None:
    assert {"controller", "version"} <= set(COMMANDS)
    assert command(name).name == name


def test_help_is_shown_without_loading_any_role() -> None:
    code = """
import sys
from csi_powerflex.cli.main import main
main(["--help"], standalone_mode=False)
print(sorted({"grpc", "requests", "yaml"} & sys.modules.keys()))
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


@pytest.mark.parametrize("name", COMMANDS)
def test_no_variable_of_the_driver_has_the_prefix_that_csi_reserves(name: str) -> None:
    # Specification, "Configuration and operation": CSI_ is for the variables that it defines.
    context = click.Context(command(name), **command(name).context_settings)
    for option in command(name).params:
        assert isinstance(option, click.Option)
        named = option.envvar or f"{context.auto_envvar_prefix}_{str(option.name).upper()}"
        assert named == "CSI_ENDPOINT" or str(named).startswith(f"POWERFLEX_CSI_{name.upper()}_")


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
    assert result.stderr == f"Error: the folder {systems.parent}/absent of the CSI socket does not exist\n"
    assert result.returncode == 1


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
    systems: Path, untouched_logging: None, replaced: dict[str, str], code: int, message: str
) -> None:
    result = run(*controller(systems, replaced))
    assert message in result.stderr
    assert result.exit_code == code
    assert "Traceback" not in result.output


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
    untouched_logging: None, arguments: tuple[str, ...], variables: dict[str, str], message: str
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
    assert result.stderr == f"Error: {systems} exists and is not a socket; it was not changed\n"
    assert systems.read_text(encoding="utf-8") == SYSTEMS
