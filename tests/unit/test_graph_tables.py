"""Tables of a graph and its edits: what is in them, and that none is empty."""

from DynamoFaultLibrary.graph.change import Change
from DynamoFaultLibrary.platforms.base import Plan, PlannedProcess, Remark
from DynamoFaultLibrary.reports.graph_tables import edit_tables, plan_tables, process_tables, to_html


def test_what_was_not_reached_stands_apart() -> None:
    made = Change("Worker", "model=m", "args")
    left = Change("Planner", "model=m", "args", "its JSON names another model")
    tables = edit_tables([made, left])
    assert {title: grid.rows for title, grid in tables.items()} == {
        "Edits": [["Worker", "model=m", "args"]],
        "Not reached by edits": [["Planner", "model=m", "args", "its JSON names another model"]],
    }


def test_a_remark_on_each_replica_is_told_once() -> None:
    remark = Remark("Worker", "HF_HOME=/cache", "not a directory here")
    tables = plan_tables(Plan(overridden=[remark, remark]))
    assert {title: grid.rows for title, grid in tables.items()} == {
        "Set otherwise here": [["Worker", "HF_HOME=/cache", "not a directory here"]]
    }


def test_processes_with_the_same_command_share_a_row_and_long_commands_are_cut() -> None:
    def process(service: str, index: int, command: str) -> PlannedProcess:
        return PlannedProcess(service, f"{service}-{index}", command, "", {})

    long = "python3 -c '\n" + "x" * 1000
    plan = Plan([*(process("Worker", index, "serve") for index in range(3)), process("Frontend", 0, long)])
    rows = process_tables(plan)["Would run here"].rows
    assert rows[0] == ["Worker-0 … Worker-2", "serve"]
    assert rows[1][0] == "Frontend-0"
    assert rows[1][1].startswith("python3 -c ' xxx")
    assert rows[1][1].endswith("x…")
    assert len(rows[1][1]) == 240


def test_nothing_to_show_is_no_table_and_no_message() -> None:
    tables = edit_tables([]) | process_tables(Plan()) | plan_tables(Plan())
    assert tables == {}
    assert to_html(tables) == ""


def test_what_a_user_wrote_is_text_in_the_log() -> None:
    html = to_html(edit_tables([Change("<b>", "env", "a&b")]), "x: <script>")
    assert "<script>" not in html
    assert "&lt;b&gt;" in html
    assert "<details><summary>The graph as edited</summary><pre>x: &lt;script&gt;</pre></details>" in html
