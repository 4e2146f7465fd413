"""The registry: what it finds; a third party's broken provider harms no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backend import providers
from backend.providers.frame.registry import (
    UnknownProvider,
    describe,
    frame_problem,
    get_provider,
    parse_credentials,
    provider_types,
)

OURS = ["sandbox", "smtp", "telegram", "twilio", "whatsapp"]

THIRD_PARTY = """
from backend.providers.frame import Accepted, Credentials, Health, Provider
from pydantic import Field, SecretStr

class PigeonCredentials(Credentials):
    loft: str
    is_fast: bool = Field(False, title="Racing pigeon")
    ring_key: SecretStr

class Pigeon(Provider[PigeonCredentials]):
    type = "pigeon"
    title = "Pigeon post"
    summary = "Messages by bird."
    channel = "pigeon"
    recipient_kind = "any"
    recipient_example = "loft 4"
    capabilities = frozenset()
    credentials_model = PigeonCredentials
    @classmethod
    def validate_recipient(cls, to): return to
    async def validate(self): return Health(True, "coo")
    async def send(self, message): return Accepted(None)

class Untitled(Pigeon):
    type = "untitled"
    title = ""

class Impostor(Pigeon):
    type = "smtp"

class NoProvider: ...
"""

ENTRY_POINTS = """[messagejs.providers]
pigeon = pigeon_post:Pigeon
untitled = pigeon_post:Untitled
impostor = pigeon_post:Impostor
nothing = pigeon_post:NoProvider
missing = pigeon_post:Missing
broken = pigeon_broken:Pigeon
"""


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution on sys.path, as pip would leave it."""
    (tmp_path / "pigeon_post.py").write_text(THIRD_PARTY)
    (tmp_path / "pigeon_broken.py").write_text("1 / 0\n")
    info = tmp_path / "pigeon_post-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon-post\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    provider_types.cache_clear()
    yield
    provider_types.cache_clear()


def test_our_providers_are_found_by_their_files() -> None:
    assert [type_ for type_ in provider_types() if type_ in OURS] == OURS


def test_an_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(UnknownProvider, match=r"no provider 'pigeon'; use one of: sandbox, smtp"):
        get_provider("pigeon")
    with pytest.raises(UnknownProvider):
        parse_credentials("_base", {})


@pytest.mark.usefixtures("third_party")
def test_a_third_party_provider_is_one_of_ours() -> None:
    assert get_provider("pigeon").title == "Pigeon post"
    fields = {field["name"]: field for field in describe("pigeon")["fields"]}
    assert fields["loft"]["type"] == "text"
    assert fields["isFast"] | {"help": ""} == {
        "name": "isFast", "label": "Racing pigeon", "type": "boolean", "required": False,
        "default": False, "placeholder": "", "help": "", "options": [],
    }  # fmt: skip
    assert fields["ringKey"]["type"] == "secret"


@pytest.mark.usefixtures("third_party")
def test_broken_third_parties_are_left_out_and_cannot_replace_a_built_in_type() -> None:
    assert sorted(provider_types()) == sorted([*OURS, "pigeon"])
    assert get_provider("smtp").__module__ == "backend.providers.smtp.provider"


def test_a_file_that_is_no_whole_provider_is_left_out_and_says_what_it_lacks(
    tmp_path: Path,
) -> None:
    name = f"unfinished_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "from backend.providers.frame import Provider\n"
        "class Unfinished(Provider):\n    type = 'unfinished'\n"
    )
    providers.__path__.append(str(tmp_path))
    provider_types.cache_clear()
    try:
        with capture_logs() as logs:
            assert sorted(provider_types()) == sorted(OURS)
    finally:
        providers.__path__.remove(str(tmp_path))
        provider_types.cache_clear()
    (line,) = [line for line in logs if line["event"] == "provider.skipped"]
    assert line["provider"].endswith(name)
    assert line["problem"] == "it lacks send, validate, validate_recipient"


def test_the_problem_with_a_candidate_is_named() -> None:
    assert frame_problem(object()) == "it is not a subclass of Provider"
    telegram = get_provider("telegram")
    for name, value in {"channel": "", "sender_fields": "host"}.items():
        wrong = type("Wrong", (telegram,), {name: value})
        assert frame_problem(wrong) == f"these attributes are missing or wrong: {name}"
    for name, value, hint in (("icon", "Send!", "Lucide"), ("recipient_kind", "loft", "phone")):
        problem = frame_problem(type("Wrong", (telegram,), {name: value})) or ""
        assert problem.startswith(f"these attributes are missing or wrong: {name} (")
        assert hint in problem
    for field in ("loft", "botToken"):
        wrong = type("Wrong", (telegram,), {"sender_fields": (field,)})
        assert (
            frame_problem(wrong)
            == f"sender_fields names what isn't a plain credential field: {field}"
        )


def test_the_form_of_smtp_offers_its_choices() -> None:
    fields = {field["name"]: field for field in describe("smtp")["fields"]}
    assert fields["security"]["type"] == "select"
    assert fields["security"]["default"] == "starttls"
    assert {"value": "starttls", "label": "STARTTLS"} in fields["security"]["options"]
    assert (fields["port"]["type"], fields["port"]["default"]) == ("number", 587)
    assert fields["password"]["type"] == "secret"
    assert [name for name, field in fields.items() if field["required"]] == ["host"]


@pytest.mark.parametrize(
    ("provider_type", "required"),
    [
        ("sandbox", []),
        ("telegram", ["botToken"]),
        ("whatsapp", ["phoneNumberId", "accessToken"]),
        ("twilio", ["accountSid", "authToken"]),
    ],
)
def test_only_what_a_send_needs_is_required(provider_type: str, required: list[str]) -> None:
    assert [
        field["name"] for field in describe(provider_type)["fields"] if field["required"]
    ] == required
