"""The migration that brought versions: a template of before has its text as its first one."""

from __future__ import annotations

from alembic import command
from sqlalchemy import create_engine, text

from backend.models import migrate
from backend.models.session import sqlalchemy_url

_TEMPLATE = """
WITH u AS (INSERT INTO users VALUES (gen_random_uuid(), now(), now(), 'a@b.c', 'x', '', true, false)
    RETURNING id),
     p AS (INSERT INTO projects (id, created_at, updated_at, user_id, name, plan, is_active)
           SELECT gen_random_uuid(), now(), now(), id, 'P', 'free', true FROM u RETURNING id)
INSERT INTO templates (id, created_at, updated_at, project_id, is_active, name, connector_type,
    content, variables,
                       variants, access, on_uncertain, version)
SELECT gen_random_uuid(), now(), now(), id, true, 'T', 'smtp', 'Hi {{a}}', '["a"]', '{}',
    'secret_only', 'hold', 4
FROM p
"""


def test_a_template_of_before_keeps_its_text_as_a_version(empty_database: str) -> None:
    config, engine = migrate._config(), create_engine(sqlalchemy_url(empty_database))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(text(_TEMPLATE))
        command.upgrade(config, "0003")
        stored = connection.execute(
            text(
                "SELECT v.version, v.content, v.variables, v.project_id = t.project_id,"
                " v.created_by FROM template_versions v JOIN templates t ON t.id = v.template_id"
            )
        ).all()
    assert [tuple(row) for row in stored] == [(4, "Hi {{a}}", ["a"], True, None)]
