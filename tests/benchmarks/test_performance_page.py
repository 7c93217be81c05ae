import pytest

from benchmarks import cost_model, table
from benchmarks.contest import options

PERFORMANCE = options.TRACKED.parents[1] / "docs" / "performance.md"


@pytest.fixture(scope="module")
def tracked():
    return table.read_all(options.TRACKED)


def test_page_of_results_is_made_from_the_files_beside_it(tracked):
    assert (options.TRACKED / "README.md").read_text() == table.page(tracked)


def test_every_benchmark_has_results(tracked):
    assert set(table.ORDER) <= set(tracked)


def test_documentation_has_the_figures_of_the_results(tracked):
    assert table.target_table(tracked) in PERFORMANCE.read_text()


def test_documentation_has_the_costs_of_the_model():
    assert cost_model.page(4, [25e9, 1e12, 5e12]) in PERFORMANCE.read_text()


def test_costs_count_what_the_paper_of_the_network_has():
    elements = cost_model.normalized_elements("resnet50", batch=2)
    # shared/facts/algorithms.md, section 9.
    assert elements == {"activations": 2 * 10_587_136, "kernels": 23_454_912}
