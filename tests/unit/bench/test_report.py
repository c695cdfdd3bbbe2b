"""From what wrk prints to the tables."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench import report, run
from bench.loads import KINDS, Outcome, Request, as_lines, find_wrk, outcome_of
from bench.plot import picture
from bench.records import CATEGORIES, batches, records
from bench.report import Measurement

PRINTED = (
    "Running 1s test\n  2 threads and 32 connections\nRequests/sec:  19074.00\n"
    '{"requests": 300, "microseconds": 2000000, "connect": 1, "read": 2, "write": 3, "status": 4, "timeout": 5, '
    '"p50": 1500, "p99": 9000}\n'
)


def measured(*rates: float, cpu: float = 0.0) -> Measurement:
    measurement = Measurement()
    for rate in rates:
        measurement.add(Outcome(1.0, int(rate), 0, 1.0, rate), cpu, rate)
    return measurement


def test_what_wrk_prints_is_read():
    outcome = outcome_of(PRINTED)
    assert (outcome.seconds, outcome.requests, outcome.errors) == (2.0, 300, 15)
    assert (outcome.p50, outcome.p99) == (1.5, 9.0)


def test_a_failed_answer_is_none():
    assert outcome_of(PRINTED).rate == (300 - 15) / 2
    assert Outcome(1.0, 3, 7, 0, 0).rate == 0
    assert Outcome(0.0, 0, 0, 0, 0).rate == 0


def test_wrk_that_prints_nothing_is_an_error():
    with pytest.raises(ValueError, match="said nothing"):
        outcome_of("Running 1s test\nunable to connect\n")


def test_requests_are_lines():
    assert as_lines([Request("GET", "/a"), Request("POST", "/b", '{"c": 1}')]) == 'GET\t/a\t\nPOST\t/b\t{"c": 1}\n'


@pytest.mark.parametrize("request_", [Request("GET", "/a\tb"), Request("POST", "/a", "x\ny")])
def test_a_request_that_would_break_its_line_is_refused(request_: Request):
    with pytest.raises(ValueError, match="tab or line end"):
        as_lines([request_])


def test_of_several_rounds_the_median_counts_and_errors_add_up():
    one = measured(100, 900, 300)
    one.add(Outcome(1.0, 300, 300, 1.0, 300), 0.9, 700)
    assert one.p99 == 300
    assert one.rate == 200
    assert one.errors == 300
    assert one.memory_mib == 900
    assert one.cpu_per_thousand == 0.9 * 1000 / 1600


def test_rates_are_compared_with_each_peer():
    table = report.rates(
        {("A", "health"): measured(3000), ("B", "health"): measured(1500), ("A", "indexed"): measured(50.25)},
        ["A", "B"],
        10_000,
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[0] == ["Requests/s", "A", "B", "to B"]
    assert rows[2] == ["GET /health", "3,000", "1,500", "2.00"]
    assert rows[3] == ["list 30 of 10,000, filter and sort, indexed", "50.0", "–", "–"]


def test_the_columns_of_a_table_are_aligned():
    lines = report.table(["a", "b"], [["long title", "1"], ["x", "12,345"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| ---------- | -----: |"


def test_the_records_are_the_same_on_every_run():
    assert list(records(50)) == list(records(50))
    assert {record["category"] for record in records(50)} == {f"c{n}" for n in range(CATEGORIES)}
    assert [len(batch) for batch in batches(25, 10)] == [10, 10, 5]


def test_only_the_whole_bench_is_written_down():
    assert run._parse([]).write
    assert run._parse(["--scale"]).write
    for part in (["--quick"], ["--alone"], ["--seconds", "1"], ["--kinds", "me"]):
        assert not run._parse(part).write


def test_an_unknown_kind_is_refused():
    with pytest.raises(SystemExit):
        run._parse(["--kinds", "me,teleport"])


def test_the_kinds_are_measured_in_the_order_of_the_report():
    assert run._plan(run._parse(["--kinds", "login,health"])).kinds == ("health", "login")
    assert run._plan(run._parse(["--quick"])).kinds == tuple(KINDS)


def test_without_wrk_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match="apt install wrk"):
        find_wrk()


def test_the_memory_of_each_process_is_a_row():
    lines = report.memory({"gateway": 61.4, "worker alone": 1052.0}).splitlines()
    assert lines[2:] == ["| gateway                        |    61 |", "| worker alone                   | 1,052 |"]


def test_the_picture_has_a_bar_for_each_request_and_says_which_are_behind():
    everything = {("ours", "get"): measured(300), ("peer", "get"): measured(100), ("peer", "login"): measured(5)}
    everything |= {("ours", "health"): measured(80), ("peer", "health"): measured(100)}
    ratios = report.ratios(everything, "ours", "peer", 10)
    assert ratios == [("GET /health", 0.8), ("GET one record", 3.0)]
    assert report.missed(ratios, "peer") == "Behind peer in this run: GET /health (0.80)."
    assert report.missed(ratios[1:], "peer") == "Ahead of peer on every row of this run."
    drawn = ElementTree.fromstring(picture([*ratios, ("<&>", 50.0)], "peer"))
    widths = [int(bar.attrib["width"]) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths == [120, 450, 450]


def test_sections_that_others_write_are_kept():
    results = (
        "# Results\n\n## Records\n\nrows\n\n## What was tried\n\nthis\n\n## Costs by the number of records\n\nthat\n"
    )
    assert report.section(results, report.TRIED) == "## What was tried\n\nthis"
    assert report.section(results, report.COSTS) == "## Costs by the number of records\n\nthat"
    assert report.section("# Results\n", report.COSTS) == ""
