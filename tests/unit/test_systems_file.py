"""The systems file: what is accepted, and the one-line message for each mistake."""

import json
import shutil
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems import dell, loader, schema
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.simulator import certificates

PASSWORD = "hunter2-Ω-secret"
MINIMAL = f"""\
systems:
  - endpoints: [https://gateway.example]
    username: admin
    password: {PASSWORD}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "schema.yaml"


def refusal(file: Path, content: str | bytes) -> str:
    """The message that refuses ``content``: one line that names the file and keeps the password."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidArgument) as refused:
        loader.load(file)
    message = str(refused.value)
    assert message.startswith(f"{file}: ")
    assert len(message.splitlines()) == 1
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))
    return message.removeprefix(f"{file}: ")


def with_line(line: str) -> str:
    return f"{MINIMAL}    {line}\n"


# --- what is accepted ----------------------------------------------------------------------------


def test_the_smallest_valid_file(file: Path) -> None:
    file.write_text(MINIMAL, encoding="utf-8")
    (system,) = loader.load(file)
    assert system == schema.SystemSettings(
        endpoints=("https://gateway.example",), username="admin", password=Secret(PASSWORD)
    )
    assert system.verify_certificate
    assert system.request_timeout == 60
    assert system.read_password().reveal() == PASSWORD


def test_a_url_has_endpoint_user_password_and_pool(file: Path) -> None:
    file.write_text("systems: [{url: 'powerflex://adm%40in:p%2Fw%3Ax@gateway.example:8443/pool%201'}]")
    (system,) = loader.load(file)
    assert system == schema.SystemSettings(
        endpoints=("https://gateway.example:8443",),
        username="adm@in",
        password=Secret("p/w:x"),
        storage_pool="pool 1",
    )


@pytest.mark.parametrize(
    "url",
    [
        f"https://admin:{PASSWORD}@gateway/pool",
        f"powerflex://admin:{PASSWORD}@gateway",
        f"powerflex://admin:{PASSWORD}@/pool",
        "powerflex://gateway/pool",
        f"powerflex://admin:{PASSWORD}@gateway:port/pool",
        f"powerflex://admin:{PASSWORD}@[gateway/pool",
    ],
)
def test_a_url_of_another_form_is_refused_without_showing_it(file: Path, url: str) -> None:
    assert refusal(file, f"systems: [{{url: '{url}'}}]").startswith(
        "systems[0].url: must be powerflex://user"
    )


def test_a_url_together_with_a_key_that_it_gives_is_refused(file: Path) -> None:
    url = f"powerflex://admin:{PASSWORD}@gateway/pool"
    text = refusal(file, f"systems: [{{url: '{url}', username: other}}]")
    assert text == "systems[0]: the url gives username already; give it once"


def test_every_key_is_read(file: Path) -> None:
    shutil.copy(certificates.ensure(file.parent / "tls").authority, file.parent / "ca.pem")
    (file.parent / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    file.write_text(
        f"""\
systems:
  - endpoints: ["https://one.example:8443", "https://[2001:db8::1]"]
    username: admin
    passwordFile: {file.parent}/password
    id: 0123456789abcdef
    name: prod
    caFile: {file.parent}/ca.pem
    verifyCertificate: true
    protectionDomain: domain1
    storagePool: pool1
    requestTimeout: 5
  - endpoints: [https://two.example]
    username: admin
    password: "12345"
    verifyCertificate: false
""",
        encoding="utf-8",
    )
    one, two = loader.load(file)
    assert one == schema.SystemSettings(
        endpoints=("https://one.example:8443", "https://[2001:db8::1]"),
        username="admin",
        password_file=f"{file.parent}/password",
        id="0123456789abcdef",
        name="prod",
        ca_file=f"{file.parent}/ca.pem",
        protection_domain="domain1",
        storage_pool="pool1",
        request_timeout=5.0,
    )
    assert two.read_password().reveal() == "12345"
    assert not two.verify_certificate


@pytest.mark.parametrize(
    ("name", "id_", "label"),
    [
        ("prod", "0123456789abcdef", "prod"),
        (None, "0123456789abcdef", "0123456789abcdef"),
        (None, None, "https://gateway.example"),
    ],
)
def test_messages_have_the_name_or_else_the_number_of_a_system(
    name: str | None, id_: str | None, label: str
) -> None:
    system = schema.SystemSettings(endpoints=("https://gateway.example",), username="a", name=name, id=id_)
    assert system.label == label


def test_the_settings_do_not_show_the_password(file: Path) -> None:
    file.write_text(MINIMAL, encoding="utf-8")
    (system,) = loader.load(file)
    assert PASSWORD not in repr(system)
    assert PASSWORD not in str(system)


# --- the file itself -----------------------------------------------------------------------------


def test_a_missing_file(file: Path) -> None:
    with pytest.raises(InvalidArgument) as refused:
        loader.load(file)
    assert str(refused.value) == f"{file}: cannot be read: No such file or directory"


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="cannot be read: Is a directory"):
        loader.load(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\xd8", b"a: \x00", b"a: \xff", b"a: \x1b"])
def test_a_file_that_is_not_text(file: Path, content: bytes) -> None:
    assert refusal(file, content) == "not a text file in UTF-8, or one with control characters"


@pytest.mark.parametrize(
    ("value", "column"),
    [
        ("@starts-like-nothing-in-yaml", 15),
        ("*unknownalias", 15),
        ("!unknowntag x", 15),
        ("!unknown!handle x", 15),
        ('"unknown \\q escape"', 25),
        ("not: a mapping here", 18),
        ("0x_", 15),
        ("2024-13-45", 15),
    ],
)
def test_the_error_for_an_unreadable_password_has_its_position_and_not_its_text(
    file: Path, value: str, column: int
) -> None:
    message = refusal(file, MINIMAL.replace(PASSWORD, value))
    assert message.startswith(f"line 4, column {column}: not valid YAML: ")
    assert message.endswith("; check the indentation, and put quotes around a value with special characters")
    for word in ("unknownalias", "unknowntag", "!unknown!", "mapping here", "0x_", "2024-13-45"):
        assert word not in message


@pytest.mark.parametrize("content", ["systems: [", "systems:\n\t- x", "systems: 'x", "- a\nb: c"])
def test_the_error_for_invalid_yaml_has_its_position(file: Path, content: str) -> None:
    assert ": not valid YAML: " in refusal(file, content)


def test_a_forgotten_dash_does_not_let_one_system_replace_another(file: Path) -> None:
    second = "    endpoints: [https://other.example]\n    username: admin\n    password: x\n"
    message = refusal(file, MINIMAL + second)
    assert message.startswith("line 5, column 5: ")
    assert "this key is twice in one mapping (is a dash missing?)" in message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(password=st.text("ab'\"\\{}[]!&*@%#:|>-? \t,~`01_x", min_size=1, max_size=12))
def test_a_password_that_makes_the_yaml_invalid_is_not_shown(file: Path, password: str) -> None:
    inside = f"q7{password}7q"
    file.write_text(MINIMAL.replace(PASSWORD, f"{password}{inside}"), encoding="utf-8")
    refused: list[InvalidArgument] = []
    try:
        loader.load(file)
    except InvalidArgument as error:
        refused.append(error)
    shown = "".join("".join(traceback.format_exception(error)) for error in refused)
    assert "q7" not in shown
    assert all(len(str(error).splitlines()) == 1 for error in refused)


# --- keys and types ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a mapping of keys to values, found nothing"),
        ("just text", "expected a mapping of keys to values, found text"),
        (
            "- a\n- b",
            "expected a mapping of keys to values, found a list; put `systems:` above the list",
        ),
        ("{}", "the key systems is missing; it must be given"),
        ("systems:", "systems: expected a list, found nothing; begin each entry with a dash"),
        ("systems: []", "systems: the list is empty; name at least one PowerFlex system"),
        (
            "systems:\n  endpoints: []",
            "systems: expected a list, found a mapping of keys to values; begin each entry with a dash",
        ),
        ("systems: [text]", "systems[0]: expected a mapping of keys to values, found text"),
        ("systemz: []", "unknown key 'systemz'; did you mean 'systems'?"),
        ("systems: []\nzzz: 1", "unknown key 'zzz'; known keys: systems"),
        ("systems:\n  - username: a", "systems[0]: the key endpoints is missing; it must be given"),
        ("systems:\n  - endpoints: []", "systems[0]: the key username is missing; it must be given"),
    ],
)
def test_the_structure_of_the_file(file: Path, content: str, message: str) -> None:
    assert refusal(file, content) == message


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("passwordfile", "passwordFile"),
        ("password_file", "passwordFile"),
        ("CAFILE", "caFile"),
        ("ca-file", "caFile"),
        ("verifyCertficate", "verifyCertificate"),
        ("storagepool", "storagePool"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_similar_one(file: Path, key: str, meant: str) -> None:
    assert (
        refusal(file, with_line(f"{key}: x")) == f"systems[0]: unknown key {key!r}; did you mean {meant!r}?"
    )


def test_all_unknown_keys_of_all_systems_and_zones_are_named_at_once(file: Path) -> None:
    content = """
systems:
  - {endpoints: [], usrname: a, zones: [{zonename: z}]}
  - {endpoints: [], usrname: a, cafile: b}
"""
    assert refusal(file, content) == (
        "systems[0]: unknown key 'usrname'; did you mean 'username'?; "
        "systems[0].zones[0]: unknown key 'zonename'; did you mean 'name'?; "
        "systems[1]: unknown key 'cafile'; did you mean 'caFile'?"
    )


OF_DELL = f"""
- username: admin
  password: {PASSWORD}
  systemID: 0a1b2c3d4e5f6071
  endpoint: https://gateway.example
  skipCertificateValidation: true
  isDefault: true
  allSystemNames: old
  nasName: nas
  mdm: 192.0.2.1,192.0.2.2
  blockProtocol: auto
  zone: {{name: a, labelKey: zone.example, protectionDomains: [{{name: pd1, pools: [sp1]}}]}}
  insecure: true
  oidcClientId: x
"""


def test_a_secret_of_dells_driver_is_refused_with_all_that_is_to_be_changed(file: Path) -> None:
    message = refusal(file, OF_DELL)
    assert message.startswith("expected a mapping of keys to values, found a list; put `systems:` above")
    for key in (
        "systemID",
        "endpoint",
        "skipCertificateValidation",
        "isDefault",
        "allSystemNames",
        "nasName",
    ):
        assert f"[0]: unknown key {key!r}; {dell.HINTS[key]}" in message
    for key in ("mdm", "blockProtocol", "zone", "insecure", "oidcClientId"):
        assert f"[0]: unknown key {key!r}; {dell.HINTS[key]}" in message


@pytest.mark.parametrize("key", dell.HINTS)
def test_a_key_of_dells_secret_is_refused_with_what_to_write(file: Path, key: str) -> None:
    for written in (key, key.upper()):
        assert refusal(file, with_line(f"{written}: x")) == (
            f"systems[0]: unknown key {written!r}; {dell.HINTS[key]}"
        )


@pytest.mark.parametrize("key", dell.HINTS)
def test_the_page_about_dells_driver_has_each_of_its_keys(key: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "coming-from-dell.md").read_text(encoding="utf-8")
    assert f"`{key}`" in page


def test_the_error_for_an_id_says_where_a_name_goes_and_that_it_is_in_lower_case(file: Path) -> None:
    assert refusal(file, with_line("id: PowerFlex-Site1")).endswith(
        "a name of the system goes to the key name"
    )
    assert refusal(file, with_line("id: 0A1B2C3D4E5F6071")).endswith("write it in lower case")


@pytest.mark.parametrize("name", ["systems.yml", "config"])
def test_the_error_for_a_missing_file_names_the_one_that_may_be_meant(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "..data").mkdir()
    with pytest.raises(InvalidArgument) as refused:
        loader.load(tmp_path / "systems.yaml")
    assert str(refused.value).endswith(f"cannot be read: No such file or directory; its folder has {name}")


def test_the_error_for_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as refused:
        loader.load(tmp_path / "absent" / "systems.yaml")
    assert str(refused.value).endswith(f"; there is no folder {tmp_path}/absent")


def test_a_key_similar_to_no_other_is_refused_with_all_known_ones(file: Path) -> None:
    message = refusal(file, with_line("zzz: x"))
    assert message.startswith("systems[0]: unknown key 'zzz'; known keys: endpoints, username, password, ")


def test_the_error_for_a_key_of_several_lines_is_one_line(file: Path) -> None:
    assert "unknown key 'two\\nlines'" in refusal(file, with_line('"two\\nlines": x'))


def test_a_password_that_follows_its_key_without_a_space_is_not_shown(file: Path) -> None:
    content = f"systems:\n  - {{endpoints: [], username: a, password:{PASSWORD}}}"
    assert refusal(file, content) == (
        "systems[0]: unknown key 'password' with a colon in it; put a space after the colon"
    )


def test_a_key_that_is_not_text(file: Path) -> None:
    assert refusal(file, with_line("1: x")) == "systems[0]: a key is not text; put quotes around it"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("name: 5", "systems[0].name: expected text, found a number; put quotes around it"),
        ("name: 5.5", "systems[0].name: expected text, found a number; put quotes around it"),
        ("name: yes", "systems[0].name: expected text, found true or false; put quotes around it"),
        ("storagePool: [a]", "systems[0].storagePool: expected text, found a list; put quotes around it"),
        ("verifyCertificate: 'no'", "systems[0].verifyCertificate: expected true or false, found text"),
        ("verifyCertificate: 0", "systems[0].verifyCertificate: expected true or false, found a number"),
        ("requestTimeout: 5s", "systems[0].requestTimeout: expected a number, found text"),
        ("requestTimeout:", "systems[0].requestTimeout: expected a number, found nothing"),
    ],
)
def test_a_value_of_the_wrong_type(file: Path, line: str, message: str) -> None:
    assert refusal(file, with_line(line)) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("https://gateway.example", "expected a list, found text; begin each entry with a dash"),
        ("[5]", "expected text, found a number; put quotes around it"),
    ],
)
def test_endpoints_of_the_wrong_type(file: Path, value: str, message: str) -> None:
    assert refusal(file, MINIMAL.replace("[https://gateway.example]", value)).endswith(message)


@pytest.mark.parametrize("value", ["12345", "yes", "2024-10-10", "[a]", "1.5", '""'])
def test_the_error_for_a_password_that_is_not_text_says_to_quote_it(file: Path, value: str) -> None:
    message = refusal(file, MINIMAL.replace(PASSWORD, value))
    remedy = "put quotes around a password that looks like a number"
    assert message == f"systems[0].password: expected a non-empty text; {remedy}"


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://gateway.example",
        "gateway.example",
        "gateway.example:443",
        "https://gateway.example/api/login",
        "https://gateway.example/rest/",
        "https://",
        "https:///path",
        "https://gateway.example?x=1",
        "https://gateway.example#x",
        "https://gateway.example:port",
        "https://gateway.example:99999",
        "https://[not-an-address",
        "https://gate way.example",
        "https://gateway.example\\n",
        "https://@gateway.example",
    ],
)
def test_an_endpoint_that_is_not_a_base_url(file: Path, endpoint: str) -> None:
    message = refusal(file, MINIMAL.replace("https://gateway.example", f'"{endpoint}"'))
    assert message.startswith("systems[0].endpoints[0]: '")
    assert message.endswith(
        "is not usable; give https://<host>[:<port>] without /api, with the user under username"
    )


@pytest.mark.parametrize("user", [f"admin:{PASSWORD}@", f":{PASSWORD}@", f"a@b:{PASSWORD}@"])
def test_a_password_in_an_endpoint_is_refused_and_not_shown(file: Path, user: str) -> None:
    message = refusal(file, MINIMAL.replace("[https://", f"[https://{user}"))
    assert message.startswith("systems[0].endpoints[0]: 'gateway.example' is not usable")


def test_the_second_endpoint_is_checked_too(file: Path) -> None:
    message = refusal(file, MINIMAL.replace("[https://gateway.example]", "[https://one, http://two]"))
    assert message.startswith("systems[0].endpoints[1]: 'http://two' is not usable")


def test_an_empty_list_of_endpoints(file: Path) -> None:
    message = refusal(file, MINIMAL.replace("https://gateway.example", ""))
    assert message == "systems[0].endpoints: the list is empty; give the gateway's URL"


@pytest.mark.parametrize("key", ["name", "storagePool", "protectionDomain", "caFile", "passwordFile"])
def test_an_empty_text(file: Path, key: str) -> None:
    message = refusal(file, with_line(f'{key}: " "'))
    assert message == f"systems[0].{key}: must not be empty; give a value or leave the key out"


@pytest.mark.parametrize("id_", ["0123456789ABCDEF", "0123456789abcde", "prod"])
def test_an_invalid_id(file: Path, id_: str) -> None:
    message = refusal(file, with_line(f"id: {id_}"))
    assert message.startswith(
        f"systems[0].id: a system id is 16 lower-case hexadecimal digits, not {id_!r}; "
    )


@pytest.mark.parametrize("seconds", ["0", "-1", ".nan", ".inf"])
def test_an_invalid_request_timeout(file: Path, seconds: str) -> None:
    message = refusal(file, with_line(f"requestTimeout: {seconds}"))
    assert message == "systems[0].requestTimeout: must be a number of seconds above 0"


@pytest.mark.parametrize(
    ("key", "number", "most"),
    [
        ("nvmeMaxPaths", 0, 8),
        ("nvmeMaxPaths", 9, 8),
        ("nvmeMaxPorts", -1, 1024),
        ("nvmeMaxPorts", 1025, 1024),
    ],
)
def test_a_number_of_paths_or_ports_that_no_nvme_host_can_have_is_refused(
    file: Path, key: str, number: int, most: int
) -> None:
    message = refusal(file, with_line(f"{key}: {number}"))
    assert message == (
        f"systems[0].{key}: must be a whole number from 1 to {most}, or left out for the array's default"
    )


@pytest.mark.parametrize("key", ["adoptVolumes", "adoptSnapshots"])
@pytest.mark.parametrize("beginning", ["", "v", "ab", "a\tbc"])
def test_a_beginning_that_fits_too_many_names_is_refused(file: Path, key: str, beginning: str) -> None:
    message = refusal(file, with_line(f"{key}: [csivol-, {json.dumps(beginning)}]"))
    assert f"systems[0].{key}[1]: {beginning!r} fits too many names; give at least 3 characters" in message


@pytest.mark.parametrize(("volumes", "snapshots"), [("csi-", "csi-"), ("csi-", "csi-s"), ("csi-v", "csi")])
def test_a_name_cannot_be_that_of_a_moved_volume_and_of_a_moved_snapshot(
    file: Path, volumes: str, snapshots: str
) -> None:
    both = with_line(f"adoptVolumes: [{volumes}]\n    adoptSnapshots: [snap-, {snapshots}]")
    assert f"systems[0].adoptSnapshots: {snapshots!r} and {volumes!r} in adoptVolumes" in refusal(file, both)


def test_names_of_moved_objects_are_read(file: Path) -> None:
    file.write_text(with_line("adoptVolumes: [csivol-]\n    adoptSnapshots: [snap-]"))
    (system,) = loader.load(file)
    assert (system.adopt_volumes, system.adopt_snapshots) == (("csivol-",), ("snap-",))


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent", "No such file"), ("", "Is a directory"), ("x" * 300, "File name too long")],
)
def test_an_authority_file_that_cannot_be_read(file: Path, name: str, reason: str) -> None:
    message = refusal(file, with_line(f"caFile: {file.parent}/{name}"))
    assert message.startswith("systems[0].caFile: system https://gateway.example: cannot read caFile ")
    assert f"{file.parent}/{name}: {reason}" in message


PEM_HEAD, PEM_TAIL = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"garbage", "it holds no certificate in PEM form, which begins with"),
        (b"\x30\x82\x03\x10" + bytes(800), "perhaps one in DER form; convert it with `openssl x509"),
        (b"-----BEGIN PRIVATE KEY-----\nTUlJ\n-----END PRIVATE KEY-----\n", "it holds a private key and no"),
        (f"{PEM_HEAD}\nTUlJ\n{PEM_TAIL}\n".encode(), "a certificate in it is damaged"),
        (f"{PEM_HEAD}\n".encode(), "a certificate in it is damaged"),
        (PEM_HEAD.encode("utf-16"), "it holds no certificate in PEM form"),
    ],
    ids=["empty", "blank", "text", "DER", "key", "damaged", "no end", "UTF-16"],
)
def test_an_authority_file_without_a_certificate(file: Path, content: bytes, reason: str) -> None:
    ca_file = file.parent / "ca.pem"
    ca_file.write_bytes(content)
    message = refusal(file, with_line(f"caFile: {ca_file}"))
    start = f"systems[0].caFile: system https://gateway.example: caFile {ca_file} cannot be used: "
    assert message.startswith(start)
    assert reason in message


@pytest.mark.parametrize("around", ["", "# Zertifikat für das Gateway\n", "\ufeff"], ids=["", "text", "BOM"])
def test_an_authority_file_may_have_text_around_its_certificates(file: Path, around: str) -> None:
    pem = certificates.ensure(file.parent / "tls").authority.read_text()
    ca_file = file.parent / "ca.pem"
    ca_file.write_text(around + pem + around + pem.replace("\n", "\r\n") + around, encoding="utf-8")
    file.write_text(with_line(f"caFile: {ca_file}"))
    assert loader.load(file)


def test_a_damaged_certificate_among_good_ones_is_found(file: Path) -> None:
    pem = certificates.ensure(file.parent / "tls").authority.read_text()
    ca_file = file.parent / "ca.pem"
    ca_file.write_text(pem + pem.replace("M", "!"))
    assert "a certificate in it is damaged" in refusal(file, with_line(f"caFile: {ca_file}"))


def test_an_unused_authority_file(file: Path) -> None:
    shutil.copy(certificates.ensure(file.parent / "tls").authority, file.parent / "ca.pem")
    message = refusal(file, with_line(f"caFile: {file.parent}/ca.pem\n    verifyCertificate: false"))
    assert message == "systems[0].caFile: has no use with verifyCertificate: false; remove one of them"


def test_both_a_password_and_a_password_file(file: Path) -> None:
    message = refusal(file, with_line(f"passwordFile: {file}"))
    assert message == "systems[0]: give exactly one of password and passwordFile"


def test_neither_a_password_nor_a_password_file(file: Path) -> None:
    message = refusal(file, MINIMAL.replace(f"password: {PASSWORD}", "password:"))
    assert message == "systems[0]: give exactly one of password and passwordFile"


@pytest.mark.parametrize(
    ("password", "found"),
    [
        ("|\n      hunter2-word", "a line break"),
        ('"hunter2-word\\n"', "a line break"),
        ('"\\nhunter2-word"', "a line break"),
        ('"hunter2\\r-word"', "a line break"),
        ('"hunter2\\b-word"', "a backspace"),
        ('"hunter2-word\\t"', "a tab"),
        ('"\\uFEFFhunter2-word"', "a byte order mark"),
        ('"hunter2\\0-word"', "a NUL"),
        ('"hunter2\\e-word"', "a character that cannot be printed"),
        ('"hunter2\\u200b-word"', "a character that cannot be printed"),
    ],
)
def test_a_password_with_a_character_that_cannot_be_printed(file: Path, password: str, found: str) -> None:
    message = refusal(file, MINIMAL.replace(f"password: {PASSWORD}", f"password: {password}"))
    assert message.startswith("systems[0].password: system https://gateway.example: password holds ")
    assert f"holds {found}, which the password cannot have" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\xef\xbb\xbfhunter2", "a byte order mark"),
        (b"\nhunter2\n", "a line break"),
        (b"hunter2\nhunter3\n", "a line break"),
        (b"hunter2\t\n", "a tab"),
        (b"hunter2\0", "a NUL"),
        (b"hunter\b2", "a backspace"),
    ],
)
def test_a_password_file_with_a_character_that_cannot_be_printed(
    file: Path, content: bytes, found: str
) -> None:
    path = file.parent / "password"
    path.write_bytes(content)
    message = refusal(file, with_password_file(path))
    assert message.startswith("systems[0].passwordFile: ")
    assert f"{path} holds {found}, which the password cannot have" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("content", [b"hunter2 \xc3\xa4", b"hunter2 \xc3\xa4\n", b"hunter2 \xc3\xa4\r\n"])
def test_a_password_file_may_end_with_a_line_break(file: Path, content: bytes) -> None:
    path = file.parent / "password"
    path.write_bytes(content)
    file.write_text(with_password_file(path), encoding="utf-8")
    assert loader.load(file)[0].read_password().reveal() == "hunter2 ä"


def with_password_file(path: Path) -> str:
    return MINIMAL.replace(f"password: {PASSWORD}", f"passwordFile: {path}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot read passwordFile"), (b"\n", "is empty"), (b"hunter2-\xff", "is not text in UTF-8")],
)
def test_a_password_file_without_password_is_found_at_start_up(
    file: Path, content: bytes | None, reason: str
) -> None:
    path = file.parent / "password"
    if content is not None:
        path.write_bytes(content)
    message = refusal(file, with_password_file(path))
    assert message.startswith("systems[0].passwordFile: system https://gateway.example: ")
    assert reason in message
    assert str(path) in message
    assert "hunter2" not in message


def test_a_changed_password_file_takes_effect(file: Path) -> None:
    path = file.parent / "password"
    path.write_text("old\r\n", encoding="utf-8")
    file.write_text(with_password_file(path), encoding="utf-8")
    (system,) = loader.load(file)
    assert system.read_password().reveal() == "old"
    path.write_text("  new with spaces \n", encoding="utf-8")
    assert system.read_password().reveal() == "  new with spaces "


def test_the_error_for_a_removed_password_file_is_not_invalid_argument(file: Path) -> None:
    path = file.parent / "password"
    path.write_text("old", encoding="utf-8")
    file.write_text(with_password_file(path), encoding="utf-8")
    (system,) = loader.load(file)
    path.unlink()
    with pytest.raises(FailedPrecondition, match="cannot read passwordFile"):
        system.read_password()


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ("name: prod", "name: prod", "name: 'prod'"),
        ("id: 0123456789abcdef", "id: 0123456789abcdef", "id: '0123456789abcdef'"),
        ("id: 0123456789abcdef", "name: 0123456789abcdef", "name: '0123456789abcdef'"),
    ],
)
def test_two_systems_of_one_name(file: Path, one: str, other: str, where: str) -> None:
    second = MINIMAL.partition("\n")[2]
    message = refusal(file, f"{MINIMAL}    {one}\n{second}    {other}\n")
    assert message == (
        f"systems[1].{where} stands for another system already; each name and id must be of one system"
    )


def test_a_system_may_be_named_by_its_id(file: Path) -> None:
    file.write_text(with_line("id: 0123456789abcdef\n    name: 0123456789abcdef"), encoding="utf-8")
    assert loader.load(file)[0].label == "0123456789abcdef"


def test_systems_without_name_or_id_are_different_systems(file: Path) -> None:
    second = MINIMAL.partition("\n")[2].replace("gateway.example", "other.example")
    file.write_text(MINIMAL + second, encoding="utf-8")
    assert len(loader.load(file)) == 2


@pytest.mark.parametrize(
    "same", ["gateway.example", "GATEWAY.example.", "gateway.example:443", "gateway.example/"]
)
def test_two_systems_with_one_endpoint_are_refused(file: Path, same: str) -> None:
    second = MINIMAL.partition("\n")[2].replace("gateway.example", same)
    message = refusal(file, MINIMAL + second)
    assert message.startswith("systems[1].endpoints[0]: ")
    assert "is an endpoint of another system already; a gateway manages one system" in message


@pytest.mark.parametrize(
    "scalar", ["!!timestamp soon", "!!bool perhaps", "!!int ''", "!!float x", "2001-99-99"]
)
def test_a_value_that_contradicts_its_tag_is_refused(file: Path, scalar: str) -> None:
    message = refusal(file, with_line(f"requestTimeout: {scalar}"))
    assert "this looks like a number or a date but is none" in message


@pytest.mark.parametrize("content", ["[" * 5000, "{a: " * 5000, "\n" + "- " * 5000], ids=["[", "{", "-"])
def test_a_file_nested_too_deeply_is_refused(file: Path, content: str) -> None:
    assert "nested too deeply" in refusal(file, f"systems: {content}")


@pytest.mark.parametrize("key", ["caFile", "name", "username", "storagePool"])
@pytest.mark.parametrize("character", [r"\0", r"\e", r"\n", r"\u2028"])
def test_a_text_with_a_character_that_cannot_be_printed_is_refused(
    file: Path, key: str, character: str
) -> None:
    content = MINIMAL.replace("    username: admin\n", "") if key == "username" else MINIMAL
    message = refusal(file, content + f'    {key}: "a{character}b"\n')
    assert message == f"systems[0].{key}: holds a character that cannot be printed; type the value again"


# --- zones ---------------------------------------------------------------------------------------


def test_a_system_can_have_pools_in_several_zones(file: Path) -> None:
    zones = "{name: a, protectionDomain: pd1, storagePools: [sp1, sp2]}, {name: b.1, storagePools: [sp3]}"
    file.write_text(with_line(f"zones: [{zones}]"), encoding="utf-8")
    (system,) = loader.load(file)
    assert system.zones == (
        schema.ZoneSettings(name="a", protection_domain="pd1", storage_pools=("sp1", "sp2")),
        schema.ZoneSettings(name="b.1", storage_pools=("sp3",)),
    )


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 64, "zone/a"])
def test_a_zone_that_no_node_can_register_is_refused(file: Path, name: str) -> None:
    """It is the value of a label of nodes, and Kubernetes refuses other labels."""
    message = refusal(file, with_line(f"zones: [{{name: '{name}', storagePools: [sp1]}}]"))
    assert message.startswith(f"systems[0].zones[0].name: {name!r} is not usable; give at most 63 letters")


def test_a_zone_without_storage_pools_is_refused(file: Path) -> None:
    message = refusal(file, with_line("zones: [{name: a, storagePools: []}]"))
    assert message == "systems[0].zones[0].storagePools: the list is empty; name at least one storage pool"
