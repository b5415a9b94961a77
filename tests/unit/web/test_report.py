"""The report: self-contained, complete, and safe with text from outside."""

import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from mlops.web.graph import Edge, Node, columns, draw, without_detours
from mlops.web.markup import element
from mlops.web.report import definition_steps, render_report
from mlops.web.timings import Span, ticks
from mlops.web.timings import draw as draw_timings

START = "2026-01-02T03:04:05+00:00"


def step(name, type_="Processing", status="Succeeded", **more):
    return {
        "name": name,
        "type": type_,
        "status": status,
        "started_at": START,
        "seconds": 2.0,
        "overhead_seconds": 0.25,
        "detail": "",
        "failure_reason": None,
    } | more


@pytest.fixture
def details():
    return {
        "execution": {
            "arn": "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/abcdefghijkl",
            "id": "abcdefghijkl",
            "pipeline_name": "P",
            "status": "Succeeded",
            "failure_reason": None,
            "started_at": START,
            "last_modified_at": "2026-01-02T03:04:15+00:00",
        },
        "parameters": {"MseThreshold": 0.03},
        "steps": [step("ETL"), step("Check", "Condition")],
        "definition": {
            "Steps": [
                {"Name": "ETL", "Type": "Processing"},
                {
                    "Name": "Check",
                    "Type": "Condition",
                    "Arguments": {
                        "IfSteps": [{"Name": "Register", "Type": "RegisterModel"}],
                        "ElseSteps": [{"Name": "Fail", "Type": "Fail"}],
                    },
                },
            ]
        },
        "metrics": {"mse": 0.02, "r2": 0.98},
        "model_package": {"group": "G", "version": 4, "approval_status": "Approved"},
        "plot": None,
    }


class Links(HTMLParser):
    """Everything a page would fetch, and every script in it."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        if tag == "script":
            self.found.append("script")
        self.found += [
            value
            for name, value in attrs
            if name in ("src", "href") and not value.startswith("data:")
        ]


def test_needs_no_other_file_and_no_script(details):
    page = render_report(details | {"plot": "<svg xmlns='http://www.w3.org/2000/svg'/>"}, [])
    links = Links()
    links.feed(page)
    assert links.found == []
    assert "@import" not in page
    assert "url(" not in page


@pytest.mark.parametrize(
    ("mse", "mood", "words"),
    [(0.02, "fact good", "passes the gate of 0.03"), (0.04, "fact bad", "misses the gate of 0.03")],
)
def test_holds_the_mse_against_its_gate(details, mse, mood, words):
    page = render_report(details | {"metrics": {"mse": mse}}, [])
    assert mood in page
    assert words in page


def test_a_failure_begins_with_the_reasons_of_its_steps(details):
    details["execution"] |= {"status": "Failed", "failure_reason": "Step failure: one failed."}
    details["steps"][1] |= {"status": "Failed", "failure_reason": "MSE greater than 0.000001"}
    details["parameters"]["MseThreshold"] = 0.000001
    page = render_report(details, [])
    assert "misses the gate of 0.000001" in page
    first = page.index("Step failure: one failed.")
    assert first < page.index("Check: MSE greater than 0.000001") < page.index("Pipeline</h2>")


def test_names_the_package_and_its_approval(details):
    page = render_report(details, [])
    assert "version 4" in page
    assert "G · Approved" in page


def test_shows_the_branch_that_did_not_run(details):
    page = render_report(details, [])
    assert 'class="node NotRun"' in page
    assert "Fail · Fail · NotRun" in page


def test_escapes_what_comes_from_a_step(details):
    evil = "<script>alert(1)</script>"
    details["execution"]["failure_reason"] = evil
    details["steps"][0] |= {"status": "Failed", "failure_reason": evil, "detail": evil}
    details["failed_logs"] = {"ETL": {"path": evil, "tail": evil}}
    details["parameters"] = {evil: evil}
    page = render_report(details, [])
    assert evil not in page
    assert "&lt;script&gt;" in page


def test_a_plot_with_a_script_stays_an_image(details):
    page = render_report(details | {"plot": "<svg><script>alert(1)</script></svg>"}, [])
    assert "alert(1)" not in page
    assert "data:image/svg+xml;base64," in page


def test_tells_the_last_log_lines_of_what_failed(details):
    details["failed_logs"] = {"ETL": {"path": "executions/x/ETL/log.txt", "tail": "KeyError: 'y'"}}
    page = render_report(details, [])
    assert "executions/x/ETL/log.txt" in page
    assert "KeyError" in page


def test_definition_steps_are_found_in_nested_branches():
    inner = {"Name": "B", "Type": "Condition", "Arguments": {"IfSteps": [{"Name": "C"}]}}
    outer = {"Name": "A", "Type": "Condition", "Arguments": {"ElseSteps": [inner]}}
    assert [found["Name"] for found in definition_steps([outer])] == ["A", "B", "C"]


def test_a_step_stands_right_of_everything_it_depends_on():
    nodes = [Node(name, "Processing", "Succeeded") for name in "dbca"]
    edges = [Edge("a", "b"), Edge("b", "c"), Edge("a", "c"), Edge("c", "d")]
    assert columns(nodes, edges) == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_an_edge_that_a_longer_way_says_is_left_out_unless_it_has_a_label():
    nodes = [Node(name, "Processing", "Succeeded") for name in "abc"]
    edges = [Edge("a", "b"), Edge("b", "c"), Edge("a", "c"), Edge("a", "c", "true")]
    shown = without_detours(edges, columns(nodes, edges))
    assert shown == [Edge("a", "b"), Edge("b", "c"), Edge("a", "c", "true")]


def test_no_two_boxes_of_a_graph_overlap():
    nodes = [Node(f"s{number}", "Training", "Succeeded") for number in range(30)]
    edges = [Edge(f"s{number // 3}", f"s{number}") for number in range(1, 30)]
    root = ElementTree.fromstring(draw(nodes, edges))
    corners = [(float(box.get("x")), float(box.get("y"))) for box in root.iter("rect")]
    assert len(corners) == 30
    for index, (x, y) in enumerate(corners):
        for other_x, other_y in corners[index + 1 :]:
            assert abs(x - other_x) >= 158 or abs(y - other_y) >= 54


def test_an_empty_graph_and_time_line_are_still_svg():
    ElementTree.fromstring(draw([], []))
    ElementTree.fromstring(draw_timings([]))


def test_a_bar_shows_its_overhead_within_itself():
    root = ElementTree.fromstring(draw_timings([Span("A", "Succeeded", 0.0, 1.0, 5.0)]))
    bar, overhead = [float(box.get("width")) for box in root.iter("rect")]
    assert overhead == bar


@pytest.mark.parametrize("end", [0.004, 0.02, 1.0, 7.3, 60.0, 5000.0])
def test_ticks_are_few_and_cover_the_line(end):
    found = ticks(end)
    assert 2 <= len(found) <= 9
    assert found[0] == 0
    assert end - found[-1] < found[1]


def test_attributes_are_escaped():
    assert element("a", title='"><b>') == '<a title="&quot;&gt;&lt;b&gt;"></a>'
