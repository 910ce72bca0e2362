"""Any content of the systems file or a URL: it is accepted, or refused in one line without a password."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from hypothesis import given, strategies as st

from csi_powerflex.config.systems import loader
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.csi import server
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.observability import endpoint
from tests.figures import Figures
from tests.hostile import inputs
from tests.hostile.inputs import with_examples
from tests.secrets.canary import PASSWORD_CORE, found

_KEYS = (
    "endpoints", "username", "password", "passwordFile", "id", "name", "caFile", "verifyCertificate",
    "protectionDomain", "storagePool", "zones", "approveHosts", "requestTimeout", "url", "zone", "unknown",
)  # fmt: skip
_RIGHT = {"endpoints": ["https://gateway"], "username": "admin", "password": PASSWORD_CORE}
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.binary(max_size=10),
    inputs.text(),
    st.sampled_from(["https://gateway:443", f"https://a:{PASSWORD_CORE}@b", "powerflex://a:b@c/d", "0" * 16]),
)
_NODES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(_KEYS), _SCALARS), inner, max_size=3),
    ),
    max_leaves=8,
)
_SYSTEMS = st.one_of(
    st.builds(lambda more: _RIGHT | more, st.dictionaries(st.sampled_from(_KEYS), _SCALARS, max_size=1)),
    st.dictionaries(st.sampled_from(_KEYS), _NODES, max_size=5),
    st.builds(lambda more: _RIGHT | more, st.dictionaries(st.sampled_from(_KEYS), _NODES, max_size=2)),
    _NODES,
)
_PIECES = st.sampled_from(
    [
        "systems:", "- ", "  ", "\n", "\t", ": ", "{", "}", "[", "]", ",", "&a ", "*a", "!!", "? ", "|", ">",
        "!!python/name:os", "!!binary ", "!!timestamp 2001-99-99", "!!int 0b", "!!int ''", "!!float x",
        "!!bool x", "!!set {a}", "<<: ", "%YAML 9", "---", "...", '"', "'", "\\x", "#", "=", "~", "1:99",
        ".inf", "0o9",
        "2001-01-01 00:00:00 +99:99", "0001-01-01 00:00:00 +12:00", "@", "`", "\0", "\x07", "\ufeff",
        "\ud7ff", PASSWORD_CORE, f"password: {PASSWORD_CORE}", "[" * 1500, "{a: " * 1000,
    ]
)  # fmt: skip
_TEXTS = st.one_of(
    st.lists(_PIECES, max_size=12).map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass")),
    st.lists(_PIECES, max_size=6).map(
        lambda parts: b"systems:\n- " + "".join(parts).encode("utf-8", "surrogatepass")
    ),
    st.binary(max_size=60),
)


def load(path: Path, codes: Counter[str]) -> tuple[SystemSettings, ...]:
    """Load the file. An error must be one line that names the file and shows no password."""
    refusal: InvalidArgument | None = None
    systems: tuple[SystemSettings, ...] = ()
    try:
        systems = loader.load(path)
    except InvalidArgument as error:
        refusal = error
    if refusal is not None:
        codes["refused"] += 1
        text = str(refusal)
        assert text.startswith(f"{path}: ")
        assert text.isprintable(), repr(text)
        assert found([PASSWORD_CORE], f"{text} {refusal.__cause__!r}".encode()) == []
        return ()
    codes["accepted"] += 1
    assert systems
    for system in systems:
        assert PASSWORD_CORE not in repr(system)
        assert system.read_password().reveal()
        assert all(url.startswith("https://") and url.isprintable() for url in system.endpoints)
    return systems


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "systems.yaml"


def test_a_document_of_any_shape_is_accepted_or_refused_in_one_line(path: Path, figures: Figures) -> None:
    codes: Counter[str] = Counter()

    @with_examples(200)
    @given(
        systems=st.one_of(st.lists(_SYSTEMS, max_size=3), _NODES),
        rest=st.dictionaries(_SCALARS, _NODES, max_size=1),
    )
    def hold(systems: object, rest: dict[object, object]) -> None:
        path.write_text(yaml.safe_dump({"systems": systems} | rest, allow_unicode=True), encoding="utf-8")
        load(path, codes)

    hold()
    assert codes["refused"]
    assert codes["accepted"]
    figures.add("hostile configurations", codes.total())


def test_text_of_any_kind_is_accepted_or_refused_in_one_line(path: Path, figures: Figures) -> None:
    codes: Counter[str] = Counter()

    @with_examples(200)
    @given(content=_TEXTS)
    def hold(content: bytes) -> None:
        path.write_bytes(content)
        load(path, codes)

    hold()
    assert codes["refused"]
    figures.add("hostile configurations", codes.total())


@st.composite
def urls(draw: st.DrawFn) -> str:
    """Something like ``powerflex://user:password@gateway[:port]/pool``."""
    parts = [
        draw(st.sampled_from(["powerflex://", "powerflex://", "powerflex://", "https://", "powerflex:", ""])),
        draw(st.one_of(st.just("admin"), inputs.text())),
        draw(st.sampled_from([":", ":", "", "::"])),
        draw(st.one_of(st.just(PASSWORD_CORE), inputs.near(PASSWORD_CORE))),
        draw(st.sampled_from(["@", "@", "", "@@"])),
        draw(
            st.one_of(
                st.sampled_from(["gateway", "[::1]", "[", "]", "127.0.0.1", "a b", "é.example"]),
                inputs.text(),
            )
        ),
        draw(st.sampled_from(["", ":443", ":0", ":65536", ":x", ":-1", ":١"])),
        draw(st.sampled_from(["/pool", "/", "", "/a/b", "/%2F", "/%zz", "?p=1", "#f", "/pool?x", "//"])),
    ]
    return "".join(parts)


def test_a_url_of_any_form_is_accepted_or_refused_without_its_password(path: Path, figures: Figures) -> None:
    codes: Counter[str] = Counter()

    @with_examples(200)
    @given(url=urls(), more=st.dictionaries(st.sampled_from(_KEYS), _SCALARS, max_size=1))
    def hold(url: str, more: dict[str, object]) -> None:
        path.write_text(
            yaml.safe_dump({"systems": [{"url": url} | more]}, allow_unicode=True), encoding="utf-8"
        )
        load(path, codes)

    hold()
    assert codes["refused"]
    assert codes["accepted"]
    figures.add("hostile configurations", codes.total())


_PART = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda text: text.isprintable() and text.strip() != ""
)


def test_percent_encoded_text_in_a_url_is_decoded(path: Path) -> None:
    @with_examples(100)
    @given(user=_PART, password=_PART, pool=_PART, port=st.one_of(st.none(), st.integers(1, 65535)))
    def hold(user: str, password: str, pool: str, port: int | None) -> None:
        encoded = [quote(part, safe="") for part in (user, password, pool)]
        address = "gateway" if port is None else f"gateway:{port}"
        url = f"powerflex://{encoded[0]}:{encoded[1]}@{address}/{encoded[2]}"
        path.write_text(json.dumps({"systems": [{"url": url}]}))
        (system,) = load(path, Counter())
        assert system.endpoints == (f"https://{address}",)
        assert (system.username, system.read_password().reveal(), system.storage_pool) == (
            user,
            password,
            pool,
        )

    hold()


@pytest.mark.parametrize("read", [server.socket_path, endpoint.address])
def test_an_endpoint_of_any_form_is_accepted_or_refused(read: object) -> None:
    assert callable(read)

    @with_examples(200)
    @given(text=st.one_of(inputs.text(), inputs.near("unix:///csi/csi.sock"), inputs.near("127.0.0.1:9808")))
    def hold(text: str) -> None:
        with contextlib.suppress(InvalidArgument):
            assert read(text)

    hold()
