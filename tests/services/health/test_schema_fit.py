"""Which schemas this code can run on, told without Alembic."""

from __future__ import annotations

import pytest
from alembic.script import ScriptDirectory

from backend.models import migrate
from backend.services.health.schema_fit import code_revisions, fit_of


def test_the_revisions_are_those_that_alembic_knows() -> None:
    script = ScriptDirectory.from_config(migrate._config())
    assert list(code_revisions()) == [
        revision.revision for revision in reversed(list(script.walk_revisions()))
    ]
    assert code_revisions()[-1] == migrate.head_revision()


@pytest.mark.parametrize(
    ("revision", "oldest_code", "state"),
    [
        (None, None, "behind"),
        ("0001", None, "behind"),
        (code_revisions()[-1], None, "current"),
        (code_revisions()[-1], "9999", "current"),
        ("9998", code_revisions()[-1], "newer"),
        ("9998", "0001", "newer"),
        ("9998", "9997", "too_new"),
        ("9998", None, "too_new"),
    ],
)
def test_a_schema_fits_or_says_what_to_do(
    revision: str | None, oldest_code: str | None, state: str
) -> None:
    fit = fit_of(revision, oldest_code)
    assert fit.state == state
    assert fit.is_usable is (state in {"current", "newer"})
    assert ("messagejs migrate" in fit.detail) is (state == "behind")
    assert ("Start the newer MessageJS version" in fit.detail) is (state == "too_new")
