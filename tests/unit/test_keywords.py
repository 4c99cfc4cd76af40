import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.keywords.observation import Migrations, counter
from DynamoFaultLibrary.load.folder import safe_name

METRICS = """
# HELP dynamo_frontend_model_migration_total Migrations
# TYPE dynamo_frontend_model_migration_total counter
dynamo_frontend_model_migration_total{model="m",migration_type="ongoing_request"} 3
dynamo_frontend_model_migration_total{model="m",migration_type="new_request"} 4
dynamo_frontend_model_migration_total{model="n",migration_type="ongoing_request"} 5
# TYPE dynamo_frontend_requests_total counter
dynamo_frontend_requests_total 1e3
# TYPE dynamo_frontend_duration_seconds histogram
dynamo_frontend_duration_seconds_bucket{le="+Inf"} 7
dynamo_frontend_duration_seconds_count 7
dynamo_frontend_duration_seconds_sum 2.5
"""
MIGRATION = "dynamo_frontend_model_migration_total"


def test_a_counter_is_the_sum_of_its_samples() -> None:
    assert counter({"Frontend-0": METRICS}, MIGRATION) == 12


def test_a_counter_counts_only_samples_with_the_labels() -> None:
    texts = {"Frontend-0": METRICS}
    assert counter(texts, MIGRATION, migration_type="ongoing_request") == 8
    assert counter(texts, MIGRATION, migration_type="ongoing_request", model="n") == 5
    assert counter(texts, MIGRATION, migration_type="other") == 0
    assert counter(texts, MIGRATION, unknown="label") == 0


def test_a_counter_is_summed_over_all_replicas() -> None:
    assert counter({"Frontend-0": METRICS, "Frontend-1": METRICS}, "dynamo_frontend_requests_total") == 2000


def test_a_counter_that_nobody_has_is_zero() -> None:
    assert counter({"Frontend-0": METRICS}, "dynamo_frontend_nothing_total") == 0
    assert counter({"Frontend-0": ""}, MIGRATION) == 0
    assert counter({}, MIGRATION) == 0


def test_a_counter_is_found_by_its_whole_name() -> None:
    assert counter({"f": METRICS}, "dynamo_frontend_model_migration") == 0
    assert counter({"f": METRICS}, "dynamo_frontend_duration_seconds_count") == 7
    assert counter({"f": METRICS}, "dynamo_frontend_duration_seconds_sum") == 2.5


@pytest.mark.parametrize(
    ("attempted", "recreated", "failed", "completed", "agree"),
    [(0, 0, 0, 0, True), (2, 2, 0, 2, True), (3, 3, 1, 2, True), (1, 0, 0, 0, False), (1, 2, 2, 0, False)],
)
def test_migrations_are_completed_where_the_new_stream_did_not_fail(
    attempted: int, recreated: int, failed: int, completed: int, agree: bool
) -> None:
    migrations = Migrations(attempted, recreated, failed)
    assert migrations.completed == completed
    assert migrations.agree is agree


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Suites.Migration.Worker Death", "migration.worker_death"),
        ("Suites", "suites"),
        ("Smoke", "smoke"),
        ("A  b/c:d", "a_b_c_d"),
        ("../../etc/passwd", "etc_passwd"),
        ("- Kill (SIGKILL) -", "kill_sigkill"),
        ("Wörker", "w_rker"),
        ("..", "suite_9608161c"),
    ],
)
def test_a_name_becomes_a_file_name(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_names_without_a_latin_letter_stay_apart() -> None:
    assert safe_name("故障") != safe_name("恢复")


@given(st.text("aZ09._-/ \\\nä✓", max_size=20))
def test_whatever_its_name_a_file_stays_where_it_belongs(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[a-z0-9._]+", safe)
    assert safe not in (".", "..")
    assert safe_name(safe) == safe
