import numpy as np

from tests.fakes.examples import make_examples
from trainer.validation.patient_facts import MOST_SOURCES, encode_patient_facts, encode_sources, tabulate_sources


def examples(**facts):
    count = len(next(iter(facts.values())))
    return make_examples(np.arange(count) % 2, facts={name: np.asarray(values) for name, values in facts.items()})


def test_nothing_stated_gives_no_control():
    assert encode_patient_facts(make_examples([0, 1])) is None
    assert encode_patient_facts(examples(view=["PA", "PA"])) is None


def test_ages_sexes_and_views_are_numbers():
    inputs = encode_patient_facts(examples(age=[20.0, 60.0, np.nan], sex=["F", "M", ""], view=["PA", "AP", "PA"]))
    assert inputs[:, 0].tolist() == [20, 60, 40]
    assert inputs[:, 1].tolist() == [0, 0, 1]
    assert sorted(map(tuple, inputs[:, 2:].T.tolist())) == sorted(
        [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0)]
    )


def test_what_is_not_stated_is_a_fact_of_its_own():
    assert encode_patient_facts(examples(sex=["F", "", "F", ""])).tolist() == [[0, 1], [1, 0], [0, 1], [1, 0]]


def test_one_source_gives_no_control_and_no_table():
    one = examples(source=["a", "a"])
    assert encode_sources(one) is None
    assert tabulate_sources(one) is None


def test_sources_are_counted_by_class():
    some = examples(source=["a", "b", "a", "", "a", "b"])
    assert encode_sources(some).shape == (6, 3)
    assert tabulate_sources(some) == {
        "a": {"covid": 3, "normal": 0},
        "b": {"covid": 0, "normal": 2},
        "not stated": {"covid": 0, "normal": 1},
    }


def test_rare_sources_share_a_column():
    names = [f"{number}" for number in range(3 * MOST_SOURCES)]
    assert encode_sources(examples(source=names)).shape == (3 * MOST_SOURCES, MOST_SOURCES + 1)
