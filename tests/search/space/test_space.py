"""Check that each error of a space file is one line with location, key, problem and fix."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.run import main
from search.space.space import Space, SpaceError, load_space
from stockrnn.dataset.alignment import prepare
from stockrnn.dataset.features import COLUMNS
from stockrnn.prices.loading import load
from stockrnn.prices.series import Prices

SPACE = "name: study\nspace:\n  architecture: [rnn, lstm]\n"  # a case adds its text from line 4 on


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(SpaceError) as caught:
        load_space(str(path)).split(load("nasdaq"))
    return caught.value.problems


def assert_says(problem: str, path: Path | str, line: int, key: str, words: str) -> None:
    place = f"{path}:{line}: {key + ': ' if key else ''}"
    assert problem.startswith(place), problem
    for word in words.split(" | "):
        assert word in problem[len(place) :], problem
    assert ";" in problem, problem  # a rule or a fix
    assert "\n" not in problem


# (error, text added to SPACE, line, key, words of the message)
ADDED = [
    ("misspelt section", "serach: {}", 4, "serach", "unknown key | did you mean search?"),
    ("unknown section", "plotting: {}", 4, "plotting", "unknown key | the known keys are name, data, validation"),
    ("a section's key at the top", "num_samples: 3", 4, "num_samples",
     "a key of section search | write it under search"),
    ("a parameter at the top", "hidden_size: 3", 4, "hidden_size", "a parameter | write it under space"),
    ("misspelt key of a section", "data:\n  horizn: 5", 5, "data.horizn",
     "unknown key | did you mean horizon?"),
    ("a parameter in a section", "search:\n  dropout: 0.1", 5, "search.dropout", "a parameter | under space"),
    ("an indented section", "data:\n  search: {}", 5, "data.search", "belongs to the top level"),
    ("misspelt parameter", "  hidden_sise: 4", 4, "space.hidden_sise",
     "unknown parameter | did you mean hidden_size?"),
    ("unknown parameter", "  colour: 4", 4, "space.colour",
     "unknown parameter | the known keys are architecture, head"),
    ("a section's key in the space", "  horizon: [1, 5]", 4, "space.horizon", "a key of section data | under data"),
    ("null in place of a parameter", "  hidden_size:", 4, "space.hidden_size", "null is not a whole number"),
    ("text for a whole number", "data:\n  horizon: '5'", 5, "data.horizon",
     '"5" is not a whole number | without quotes'),
    ("a fraction for a whole number", "data:\n  horizon: 1.5", 5, "data.horizon", "1.5 is not a whole number"),
    ("a bool for a whole number", "validation:\n  folds: true", 5, "validation.folds",
     "true is not a whole number"),
    ("text for a number", "resources:\n  cpu: two", 5, "resources.cpu", '"two" is not a number'),
    ("a number for text", "data:\n  source: 5", 5, "data.source", "5 is not text | in quotes"),
    ("a word for a bool", "  bidirectional: [1, 0]", 4, "space.bidirectional.0",
     "1 is not a boolean | true or false"),
    ("a list for a section", "search: [tpe]", 4, "search", '["tpe"] is not a section | indented'),
    ("a word for a section", "search: tpe", 4, "search", '"tpe" is not a section'),
    ("too small", "data:\n  horizon: 0", 5, "data.horizon", "0 is too small | at least 1"),
    ("too large", "  dropout: 1.0", 4, "space.dropout", "1.0 is too large | below 1"),
    ("too many digits", "seed: 1234567890123456789", 4, "", "too long | at most 18 digits"),
    ("infinite", "  learning_rate: .inf", 4, "space.learning_rate", ".inf is not allowed | a finite number"),
    ("infinite and unbounded", "  gradient_clip: .inf", 4, "space.gradient_clip", "is not allowed"),
    ("infinite by its exponent", "  learning_rate: 1e999", 4, "space.learning_rate",
     "is not allowed"),
    ("no number", "  dropout: [0.1, .nan]", 4, "space.dropout.1", ".nan is not allowed | a finite number"),
    ("an infinite end", "  gradient_clip: {float: [1, .inf]}", 4, "space.gradient_clip.float.1",
     "not allowed"),
    ("no number of cores", "resources:\n  gpu: 0\n  cpu: .nan", 6, "resources.cpu",
     ".nan is not allowed | a finite number"),
    ("an infinite factor", "scheduler: {reduction_factor: .inf}", 4, "scheduler.reduction_factor",
     "not allowed"),
    ("an empty range", "  hidden_size: {int: []}", 4, "space.hidden_size.int",
     "[] is not a range | two numbers"),
    ("a range of one", "  hidden_size: {int: [4]}", 4, "space.hidden_size.int",
     "[4] is not a range | two numbers"),
    ("a range of three", "  hidden_size: {int: [4, 8, 16]}", 4, "space.hidden_size.int",
     "[4, 8, 16] is not a range"),
    ("a range without list", "  hidden_size: {int: 4}", 4, "space.hidden_size.int", "4 is not a range"),
    ("a range of nothing", "  gradient_clip: {float: [~, 1]}", 4, "space.gradient_clip.float", "is not a range"),
    ("a reversed range", "  hidden_size: {int: [64, 4]}", 4, "space.hidden_size.int",
     "reversed | write [4, 64]"),
    ("equal ends", "  hidden_size: {int: [8, 8]}", 4, "space.hidden_size.int",
     "has only one value | write hidden_size: 8"),
    ("a fraction in an int range", "  hidden_size: {int: [4, 8.5]}", 4, "space.hidden_size.int.1",
     "8.5 is not a whole"),
    ("a range beyond the bounds", "  dropout: {float: [0, 1]}", 4, "space.dropout.float.1",
     "1 is too large | below 1"),
    ("log from 0", "  dropout:\n    float: [0, 0.5]\n    log: true", 5, "space.dropout.float",
     "starts at 0.0 | above 0"),
    ("log of no bool", "  hidden_size: {int: [1, 4], log: 2}", 4, "space.hidden_size.log",
     "2 is not a boolean"),
    ("log and step", "  hidden_size: {int: [1, 9], log: true, step: 2}", 4, "space.hidden_size.step",
     "cannot have a step | remove log or step"),
    ("a step that does not divide", "  hidden_size: {int: [4, 9], step: 2}", 4, "space.hidden_size.step",
     "2 does not divide the range 4 to 9 | end the range at 8"),
    ("a float step that does not divide",
     "  dropout:\n    float: [0.1, 0.5]\n    step: 0.3", 6, "space.dropout.step",
     "0.3 does not divide the range 0.1 to 0.5 | end the range at 0.4"),
    ("a step wider than its range", "  hidden_size: {int: [4, 9], step: 6}", 4, "space.hidden_size.step",
     "is larger than the range 4 to 9"),
    ("a step of 0", "  hidden_size: {int: [4, 9], step: 0}", 4, "space.hidden_size.step",
     "0 is not a step | above 0"),
    ("a negative step", "  dropout: {float: [0, 0.5], step: -0.1}", 4, "space.dropout.step",
     "-0.1 is not a step"),
    ("a step of text", "  dropout: {float: [0, 0.5], step: big}", 4, "space.dropout.step",
     '"big" is not a step'),
    ("a fraction as int step", "  hidden_size: {int: [4, 8], step: 0.5}", 4, "space.hidden_size.step",
     "0.5 is not a whole number | write 1"),
    ("a step beside a choice", "  hidden_size: {choice: [4, 8], step: 4}", 4, "space.hidden_size.step",
     "only for int and float ranges | remove"),
    ("an unknown choice", "  head: [last, frist]", 4, "space.head.1",
     '"frist" is not one of last, flatten, mean'),
    ("the field's word for a sampler", "search:\n  sampler: bayesian", 5, "search.sampler",
     '"bayesian" is not one of tpe, | did you mean gp, or tpe?'),
    ("a list of files", "data:\n  source: [a.csv, b.csv]", 5, "data.source",
     'is a list | source is one series | write sources: [a.csv, b.csv]'),
    ("a list of tickers", "data:\n  ticker: [^KS11, ^IXIC]", 5, "data.ticker", 'write tickers: [^KS11, ^IXIC]'),
    ("a pattern", "data:\n  source: quotes/*.csv", 5, "data.source",
     'is a pattern | source is one file | write sources: ["quotes/*.csv"]'),
    ("files with commas", "data:\n  source: a.csv, b.csv", 5, "data.source",
     'is a list | source is one file | write sources: ["a.csv", "b.csv"]'),
    ("a misspelt choice", "  head:\n  - last\n  - atention", 6, "space.head.1", "did you mean attention?"),
    ("an unknown constant", "  optimizer: lion", 4, "space.optimizer",
     '"lion" is not one of adam, adamw | choose one'),
    ("an empty choice", "  hidden_size: []", 4, "space.hidden_size", "list is empty | at least one value"),
    ("an empty long choice", "  hidden_size: {choice: []}", 4, "space.hidden_size.choice", "list is empty"),
    ("a choice without list", "  hidden_size: {choice: 4}", 4, "space.hidden_size.choice",
     "4 is not a list | write [4]"),
    ("a choice twice", "  hidden_size: [4, 8, 4]", 4, "space.hidden_size.2", "4 is repeated | remove"),
    ("a mapping in a choice", "  hidden_size: [4, {int: [1, 2]}]", 4, "space.hidden_size.1",
     "is a mapping | a single value"),
    ("int range of a fraction", "  dropout: {int: [0, 1]}", 4, "space.dropout.int",
     "dropout cannot be an int range | values are a number | float: [low, high]"),
    ("float range of a count", "  hidden_size: {float: [1, 9]}", 4, "space.hidden_size.float",
     "hidden_size cannot be a float range | values are a whole number | int: [low, high]"),
    ("a range of a word", "  head: {int: [1, 2]}", 4, "space.head.int",
     "values are a word | choice: [last, flatten"),
    ("a range of a bool", "  bidirectional: {int: [0, 1]}", 4, "space.bidirectional.int",
     "values are true or false | choice: [true, false]"),
    ("an unknown key of a domain", "  hidden_size: {int: [1, 9], lgo: true}", 4, "space.hidden_size.lgo",
     "unknown key | did you mean log?"),
    ("no kind of domain", "  hidden_size: {log: true}", 4, "space.hidden_size",
     "one of int, float and choice | write {int"),
    ("two kinds of domain", "  hidden_size: {int: [1, 9], choice: [4]}", 4, "space.hidden_size",
     "int and choice"),
    ("when names nothing",
     "  dropout:\n    float: [0, 0.5]\n    when: {num_leyers: 2}", 6, "space.dropout.when.num_leyers",
     "unknown parameter | did you mean num_layers?"),
    ("when names a later one",
     "  dropout:\n    float: [0, 0.5]\n    when: {num_layers: 2}\n  num_layers: [1, 2]", 6,
     "space.dropout.when.num_layers", "is not above dropout | move num_layers above dropout"),
    ("when names an absent one",
     "  dropout: {choice: [0.1], when: {num_layers: 2}}", 4, "space.dropout.when.num_layers",
     "num_layers is not above dropout"),
    ("when out of the domain", "  dropout: {float: [0, 0.5], when: {architecture: [gru]}}", 4,
     "space.dropout.when.architecture", '"gru" is not in the domain of space.architecture | never met'),
    ("when of an impossible value", "  dropout: {float: [0, 0.5], when: {architecture: gruu}}", 4,
     "space.dropout.when.architecture", '"gruu" is not one of rnn, gru, lstm | did you mean gru?'),
    ("when without parameters", "  dropout: {float: [0, 0.5], when: {}}", 4, "space.dropout.when",
     "{} is not a condition"),
    ("when without values", "  dropout: {float: [0, 0.5], when: {architecture: []}}", 4,
     "space.dropout.when.architecture", "list is empty"),
    ("when is a list", "  dropout: {float: [0, 0.5], when: [lstm]}", 4, "space.dropout.when",
     '["lstm"] is not a condition'),
    ("bare columns as a choice", "  features: [open, close]", 4, "space.features",
     "choice | write [[open, close]]"),
    ("an unknown column in a choice", "  features: [[open, clsoe]]", 4, "space.features.0",
     "'clsoe' | features are open | did you mean close?"),
    ("an unknown column", "data:\n  features: [open, clsoe]", 5, "data.features",
     "'clsoe' | features are open, high"),
    ("a column twice", "data: {features: [open, open]}", 4, "data.features", "repeats a feature"),
    ("no columns", "data: {features: []}", 4, "data.features", "[] is not valid | must be a list of features"),
    ("features as a choice", "  features: [volatility_9, day_of_week]", 4, "space.features",
     "choice | write [[volatility_9, day_of_week]]"),
    ("a misspelt feature", "  features: [returns, volatility20]", 4, "space.features.1",
     "'volatility20' | volatility_N | did you mean volatility_20?"),
    ("a feature that looks back too far", "  features: [[ma_ratio_900]]", 4, "space.features.0",
     "uses 900 sessions | write ma_ratio_500"),
    ("one other series", "data:\n  also: sp500", 5, "data.also", "is not a list"),
    ("another series without a source", "data:\n  also: [{lag: 0}]", 5, "data.also.0.source", "is missing"),
    ("another series with a misspelt key", "data:\n  also: [{source: sp500, lga: 0}]", 5,
     "data.also.0.lga", "unknown key | did you mean lag?"),
    ("another series twice", "data:\n  also: [sp500, sp500]", 5, "data.also", "is repeated | rename the file"),
    ("Yahoo without a ticker", "data:\n  also: [{source: yahoo}]", 5, "data.also.0", "needs a ticker"),
    ("others as a parameter", "  others: [sp500]", 4, "space.others", "unknown parameter"),
    ("yahoo", "data:\n  source: yahoo", 5, "data.source", "yahoo needs a ticker | ticker: ^KS11"),
    ("a misspelt source", "data:\n  source: nasdak", 5, "data.source", "no such file | did you mean nasdaq?"),
    ("a missing source", "data: {source: my/prices.csv}", 4, "data.source", "no such file | check the path"),
    ("a folder as source", "data: {source: /}", 4, "data.source", "is a folder | the path of a file"),
    ("a window longer than the training part", "  sequence_length: [5, 5000]", 4, "space.sequence_length",
     "5000 does not fit | need 6001 | use a longer series | which does the same as --set space.sequence_length=5"),
    ("a long window in a short training part",
     "  sequence_length: {int: [5, 300]}\nvalidation: {window: sliding, train_size: 200}", 5,
     "validation.train_size",
     "a window of 300 sessions | at least 301 are needed | --set validation.train_size=301"),
    ("a default window in a short training part", "validation: {window: sliding, train_size: 20}", 4,
     "validation.train_size", "a window of 20 sessions | at least 21 are needed | --set validation.train_size=21"),
    ("a long window after long folds", "  sequence_length: 4100", 4, "space.sequence_length",
     "4100 does not fit | need 5101 | 5031 sessions are too few | --set space.sequence_length=4010"),
    ("too few rows for the folds", "validation:\n  folds: 30\n  fold_size: 250", 5, "validation.folds",
     "5031 sessions are too few | need 7771 | longer series"),
    ("too few rows for the test block", "data:\n  test_size: 5000", 5, "data.test_size",
     "too few | need 5771"),
    ("too few rows for the training part", "validation: {window: sliding,\n  train_size: 4500}", 5,
     "validation.train_size", "too few | need 5500"),
    ("a training part shorter than the horizon",
     "data: {horizon: 9}\nvalidation:\n  window: sliding\n  train_size: 5", 7, "validation.train_size",
     "at least 10 are needed | --set validation.train_size="),
    ("sliding without train_size", "validation:\n  folds: 2\n  window: sliding", 6, "validation.window",
     "sliding needs train_size"),
    ("train_size without sliding", "validation:\n  folds: 2\n  train_size: 900", 6, "validation.train_size",
     "is only for window: sliding"),
    ("grace_period above max_epochs",
     "scheduler:\n  max_epochs: 5\n  grace_period: 6", 6, "scheduler.grace_period",
     "6 is larger than max_epochs, 5 | write grace_period: 5"),
    ("max_epochs below the default grace_period", "scheduler:\n  max_epochs: 2", 5, "scheduler.max_epochs",
     "2 is smaller than the default grace_period, 3 | write grace_period: 2"),
    ("a factor that halves nothing", "scheduler: {reduction_factor: 1}", 4, "scheduler.reduction_factor",
     "at least 1.1"),
    ("mode against metric", "search:\n  mode: max", 5, "search.mode",
     "lower values of val_relative_loss are better | mode: min"),
    ("an unknown metric", "search: {metric: val_rsme}", 4, "search.metric", "did you mean val_rmse?"),
    ("an unknown sampler", "search: {sampler: tpee}", 4, "search.sampler",
     "is not one of tpe, random | did you mean tpe?"),
    ("fewer trials than initial points",
     "search:\n  initial: [{architecture: rnn}, {architecture: lstm}]\n  num_samples: 1", 6,
     "search.num_samples",
     "1 is too small | 2 points | at least 2"),
    ("more trials than the grid", "search:\n  sampler: grid\n  num_samples: 3", 6, "search.num_samples",
     "3 is too large | the grid has 2 points"),
    ("no trials", "search: {num_samples: 0}", 4, "search.num_samples", "0 is too small | at least 1"),
    ("initial is no list", "search: {initial: {architecture: rnn}}", 4, "search.initial", "is not a list"),
    ("an initial point is not a mapping", "search:\n  initial:\n  - rnn", 6, "search.initial.0",
     '"rnn" is not a mapping'),
    ("an unknown parameter in a point", "search:\n  initial:\n  - architecture: rnn\n    haed: last", 7,
     "search.initial.0.haed", "not a parameter of this space | the space has architecture"),
    ("a value out of the domain in a point", "search:\n  initial:\n  - architecture: gru", 6,
     "search.initial.0.architecture", '"gru" is not in the domain of space.architecture'),
    ("an impossible value in a point", "search:\n  initial:\n  - architecture: [rnn]", 6,
     "search.initial.0.architecture", '["rnn"] is not one of rnn, gru, lstm'),
    ("a value off the steps in a point",
     "  hidden_size: {int: [4, 8], step: 2}\nsearch: {initial: [{hidden_size: 5}]}", 5,
     "search.initial.0.hidden_size",
     "5 is not in the domain of space.hidden_size"),
    ("an inactive parameter in a point",
     "  hidden_size: {int: [4, 8], when: {architecture: lstm}}\nsearch:\n  initial:\n"
     "  - {architecture: rnn,\n     hidden_size: 4}", 8, "search.initial.0.hidden_size",
     'does not exist at this point | architecture in ["lstm"]'),
    ("an impossible value that a condition names in a point",
     "  hidden_size: {int: [4, 8], when: {architecture: lstm}}\nsearch:\n  initial:\n"
     "  - {architecture: gru, hidden_size: 4}", 7, "search.initial.0.architecture", "is not in the domain"),
    ("a misspelt parameter that a condition names in a point",
     "  hidden_size: {int: [4, 8], when: {architecture: lstm}}\nsearch:\n  initial:\n"
     "  - {architectur: lstm, hidden_size: 4}", 7, "search.initial.0.architectur",
     "did you mean architecture?"),
    ("a conditional parameter alone in a point",
     "  hidden_size: {int: [4, 8], when: {architecture: lstm}}\nsearch: {initial: [{hidden_size: 4}]}", 5,
     "search.initial.0.hidden_size", "does not exist at this point"),
    ("grid with endless floats", "  dropout: {float: [0, 0.5]}\nsearch: {sampler: grid}", 5, "search.sampler",
     "grid does not fit | infinitely many values (dropout) | add a step"),
    ("grid too large",
     "  batch_size: {int: [1, 999999]}\n  hidden_size: {int: [1, 4]}\nsearch: {sampler: grid}", 6,
     "search.sampler", "7,999,992 points | the maximum is 100,000"),
    ("cmaes with choices",
     "  hidden_size: {int: [1, 4]}\nsearch: {sampler: cmaes}", 5, "search.sampler",
     "cannot search choices (architecture)"),
    ("gp with when",
     "  hidden_size: {int: [4, 8], when: {architecture: lstm}}\nsearch: {sampler: gp}", 5, "search.sampler",
     "with a condition (hidden_size) | remove 'when'"),
    ("more than one GPU", "resources:\n  gpu: 2", 5, "resources.gpu", "2 is not a share | at most one GPU"),
    ("hardly any of a GPU", "resources: {gpu: 0.001}", 4, "resources.gpu", "not a share of a GPU | from 0.01 to 1"),
    ("a word for a share", "resources: {gpu: atuo}", 4, "resources.gpu",
     '"atuo" is not a share of a GPU | auto, 0, or'),
    ("a share of truth", "resources: {gpu: true}", 4, "resources.gpu", "true is not a share of a GPU"),
    ("an infinite share", "resources: {gpu: .inf}", 4, "resources.gpu", "is not allowed"),
    ("hardly a core", "resources: {cpu: 0.001}", 4, "resources.cpu", "too small | at least 0.01"),
    ("no list of demands", "resources:\n  when: {gpu: 1}", 5, "resources.when", "is not a list"),
    ("a demand of a word", "resources:\n  when:\n  - big", 6, "resources.when.0", '"big" is not a mapping'),
    ("a demand without condition", "resources:\n  when:\n  - gpu: 0.5", 6, "resources.when.0.if", "is missing | add"),
    ("a demand for nothing", "resources:\n  when:\n  - {if: {architecture: gru}}", 6, "resources.when.0",
     "neither cpu nor gpu | for example gpu"),
    ("a demand with no condition in it", "resources:\n  when:\n  - {if: {}, gpu: 1}", 6, "resources.when.0",
     "has no condition | add"),
    ("a misspelt demand", "resources:\n  when:\n  - if: {architecture: gru}\n    gpus: 1", 7,
     "resources.when.0.gpus", "unknown key | did you mean gpu?"),
    ("a condition outside of if", "resources:\n  when:\n  - {if: {architecture: gru}, head: last, gpu: 1}", 6,
     "resources.when.0.head", "unknown key | write it as a condition, if: {head"),
    ("a demand of an unknown parameter", "resources:\n  when:\n  - {if: {architectur: gru}, gpu: 1}", 6,
     "resources.when.0.if.architectur", "unknown parameter | did you mean architecture?"),
    ("a demand of a parameter that is not there", "resources:\n  when:\n  - {if: {head: last}, gpu: 1}", 6,
     "resources.when.0.if.head", "is not in this space | the space has architecture"),
    ("a demand of a value that is not there",
     "  hidden_size: [4, 8]\nresources: {when: [{if: {hidden_size: 6}, gpu: 1}]}", 5,
     "resources.when.0.if.hidden_size", "not in the domain of space.hidden_size | never met"),
    ("a demand of a value that is none", "resources:\n  when:\n  - {if: {architecture: gur}, gpu: 1}", 6,
     "resources.when.0.if.architecture", '"gur" is not one of rnn, gru, lstm | did you mean gru?'),
    ("a demand out of reach",
     "  hidden_size: {int: [4, 64]}\nresources: {when: [{if: {hidden_size: {min: 65}}, gpu: 1}]}", 5,
     "resources.when.0.if.hidden_size", "contains no value of space.hidden_size | change the domain or the bounds"),
    ("a demand between the steps",
     "  hidden_size: {int: [4, 64], step: 4}\nresources: {when: [{if: {hidden_size: {min: 9, max: 11}}, gpu: 1}]}",
     5, "resources.when.0.if.hidden_size", "contains no value"),
    ("a demand of a reversed range",
     "  hidden_size: {int: [4, 64]}\nresources: {when: [{if: {hidden_size: {min: 9, max: 8}}, gpu: 1}]}",
     5, "resources.when.0.if.hidden_size", "min 9 is above max 8 | swap"),
    ("a demand of words in order", "resources:\n  when:\n  - {if: {architecture: {min: gru}}, gpu: 1}", 6,
     "resources.when.0.if.architecture.min", "is not a number | min and max"),
    ("a demand of a misspelt bound",
     "  hidden_size: {int: [4, 64]}\nresources: {when: [{if: {hidden_size: {least: 9}}, gpu: 1}]}",
     5, "resources.when.0.if.hidden_size.least", "unknown key | min and max"),
    ("a demand that no point meets",
     "  num_layers: [1, 2]\n  dropout: {float: [0, 0.5], when: {num_layers: 2}}\n"
     "resources: {when: [{if: {num_layers: 1, dropout: {min: 0.2}}, gpu: 1}]}",
     6, "resources.when.0.if", "no point of the space meets | num_layers and dropout"),
    ("too many demands", f"resources: {{when: [{', '.join(['{if: {architecture: gru}, gpu: 1}'] * 9)}]}}", 4,
     "resources.when", "has 9 entries | the maximum is 8"),
    ("a negative seed", "seed: -1", 4, "seed", "-1 is not a seed | a whole number from 0"),
    ("a seed of text", "seed: 1_000", 4, "seed", '"1_000" is not a seed'),
    ("a seed of nothing", "seed:", 4, "seed", "null is not a seed"),
    ("a key twice", "seed: 1\nseed: 2", 5, "seed", "is set twice, first on line 4 | remove one"),
    ("a nested key twice", "  hidden_size: 4\n  head: last\n  hidden_size: 8", 6, "space.hidden_size",
     "is set twice, first on line 4"),
    ("a tab", "search:\n\tsampler: tpe", 5, "", "indented with a tab | spaces"),
    ("an open bracket", "seed: [1, 2\ndata: {}", 5, "", "is not YAML | flow sequence | the one above"),
    ("a bracket open to the end", "seed: [1, 2,\n 3", 4, "", "is not YAML | flow sequence"),
    ("an open quote", "seed: 'one", 4, "", "is not YAML | quoted scalar"),
    ("a stray indent", "seed: 1\n  sampler: tpe", 5, "", "starts in column 3, but the line above in column 1 | change"),
    ("an indent of one more", "search:\n  sampler: tpe\n   num_samples: 3", 6, "", "column 4, but the line above"),
    ("an indent of one less", "search:\n  sampler: tpe\n num_samples: 3", 6, "", "column 2, but the line above in col"),
    ("a colon without its space", "search:\n  sampler:tpe\n  seed: 3", 6, "",
     "a space is missing after the colon | write sampler: tpe"),
    ("a range without its space", "seed:{int: 3}", 4, "seed:{int", "unknown key | did you mean seed?"),
    ("parentheses", "validation:\n  folds: (1, 2)", 5, "validation.folds", "is text | write [1, 2]"),
    ("capitals", "search: {sampler: TPE}", 4, "search.sampler", "is not one of | did you mean tpe?"),
    ("a forbidden character", "seed: 1 # \x07", 4, "", "#x0007 is not allowed"),
    ("no such character", 'seed: "\\U99999999"', 4, "", "is not a character"),
    ("an object", "seed: !!python/object/apply:os.getpid []", 4, "",
     "the tag !!python/object/apply:os.getpid | remove"),
    ("a tag", "seed: !!bool abc", 4, "", "the tag !!bool"),
    ("a merge key", "<<: {seed: 1}", 4, "<<", "unknown key"),
    ("an alias of nothing", "seed: *one", 4, "", "undefined alias"),
    ("a second document", "---\nspace: {}", 4, "", "a second document starts here | remove"),
    ("a list as key", "? [a, b]\n: 1", 4, "", "a key is a list"),
    ("recursion", "data: &a\n  source: *a", 5, "", "nested too deeply"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "words"), [pytest.param(*case, id=name) for name, *case in ADDED])
def test_an_error_is_one_line(tmp_path: Path, text: str, line: int, key: str, words: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE + text + "\n", encoding="utf-8")

    (problem,) = problems_of(path)

    assert_says(problem, path, line, key, words)


LAUGHS = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12))

# (error, the whole file, line, key, words of the message)
WHOLE = [
    ("no space", b"seed: 1", 1, "space", "is missing | architecture | write space:"),
    ("an empty space", b"seed: 1\nspace:", 2, "space", "is empty | write space:"),
    ("a space that is a list", b"space: [lstm]", 1, "space", '["lstm"]'),
    ("no architecture", b"seed: 1\nspace: {head: last}", 2, "space",
     "architecture is missing | no default"),
    ("a misspelt space", b"spcae: {architecture: lstm}", 1, "spcae", "unknown key | did you mean space?"),
    ("a misspelt architecture", b"space:\n  archtecture: lstm", 2, "space.archtecture",
     "did you mean architecture?"),
    ("parameters without a space", b"seed: 1\narchitecture: lstm", 2, "architecture", "write it under space"),
    ("an architecture with a condition",
     b"space:\n  head: [last, mean]\n  architecture: {choice: [lstm], when: {head: last}}", 3,
     "space.architecture.when", "has no default | remove when"),
    ("a wrong parameter that another's condition names",
     b"space:\n  architecture: lstm\n  num_layers: {int: [3, 1]}\n"
     b"  dropout: {float: [0, 0.5], when: {num_layers: 2}}",
     3, "space.num_layers.int", "reversed"),
    ("a wrong parameter that an initial point names",
     b"space:\n  architecture: lstm\n  head: [lsat]\nsearch: {initial: [{head: last}]}", 3,
     "space.head.0", "last"),
    ("cmaes with one parameter",
     b"space: {architecture: lstm, hidden_size: {int: [1, 4]}}\nsearch: {sampler: cmaes}", 2,
     "search.sampler", "at least 2 varying parameters | this space has 1"),
    ("a name with a slash", b"name: a/b\nspace: {architecture: lstm}", 1, "name",
     '"a/b" is not a valid name | change it'),
    ("a name of dots", b"name: ..\nspace: {architecture: lstm}", 1, "name",
     '".." is not a valid name | starts with a letter'),
    ("a name too long", b"name: " + b"x" * 101 + b"\nspace: {architecture: lstm}", 1, "name",
     "... is not a valid name | 1 to 100"),
    ("a name of digits", b"name: 2024\nspace: {architecture: lstm}", 1, "name",
     "2024 is not a valid name | write name: \"2024\""),
    ("an empty file", b"", 1, "", "is empty | start with 'space:'"),
    ("comments only", b"# nothing\n", 1, "", "is empty"),
    ("a list at the top", b"\n- space\n", 2, "", "is not a mapping"),
    ("a word at the top", b"space", 1, "", "is not a mapping"),
    ("not YAML", b"space: {]\n", 1, "", "is not YAML"),
    ("not UTF-8", b"name: study\nspace: \xff\xfe", 2, "", "is not UTF-8 text | save the file as UTF-8"),
    ("over a megabyte", b"#" * 1_000_001, 1, "", "is larger than the limit of 500000 bytes"),
    ("too many values", b"space: [" + b"1, " * 20_000 + b"]", 1, "", "too many values | the maximum is 20,000"),
    ("ten thousand brackets", b"seed: 1\nspace: " + b"[" * 10_000, 2, "",
     "nested too deeply | the maximum is 20 levels"),
    ("ten thousand braces", b"{" * 10_000, 1, "", "nested too deeply"),
    ("a billion laughs", ("a0: &a0 lol\n" + LAUGHS).encode(), 6, "", "too many values | aliases"),
    ("a list in itself", b"space: &a [*a]", 1, "", "nested too deeply"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "line", "key", "words"), [pytest.param(*case, id=name) for name, *case in WHOLE])
def test_an_invalid_file_is_one_line(tmp_path: Path, content: bytes, line: int, key: str, words: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(content)

    (problem,) = problems_of(path)

    assert_says(problem, path, line, key, words)


def test_a_missing_file(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "none.yaml")
    assert problem.startswith(f"{tmp_path / 'none.yaml'}: no such file; ")
    assert "or use one of spaces/all.yaml, " in problem


def test_a_misspelt_file_has_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "mien.csv").touch()
    (problem,) = problems_of(tmp_path / "mien.yaml")
    assert problem.endswith(f"did you mean {tmp_path / 'mine.yaml'}?")
    (problem,) = problems_of(Path("smoek"))
    assert problem.endswith("did you mean smoke.yaml?")


def test_errors_are_sorted_by_line(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "sede: 1\nspace: {architecture: gru}\nscheduler: {max_epochs: 0}\ndata: {source: none.csv}\n", encoding="utf-8"
    )
    with pytest.raises(SpaceError) as caught:
        load_space(str(path), [("num_sample", "3", "--set num_sample=3")])
    begins = [problem.split(":")[1] if problem.startswith("/") else "option" for problem in caught.value.problems]
    assert begins == ["option", "1", "3", "4"]


def test_the_fix_of_an_option_is_an_option() -> None:
    with pytest.raises(SpaceError, match=r"--set scheduler\.max_epochs=\.\.\."):
        load_space("spaces/smoke.yaml", [("max_epochs", "3", "--set max_epochs=3")])


def test_a_folder(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path)
    assert_says(problem, tmp_path, 1, "", "is not a regular file")


def test_the_results_folder_of_another_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE, encoding="utf-8")
    (tmp_path / "results" / "study").mkdir(parents=True)

    code = main([str(path), "--dry-run", "--output", str(tmp_path / "results")])

    said = capsys.readouterr()
    assert code == 2
    assert "study:" in said.out  # the dry run still prints the plan
    assert_says(said.err.splitlines()[-1], path, 1, "name", "results/study exists already | --name")


def test_all_errors_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE + "  haed: last\nsearch: {num_samples: 0, mode: up}\nseed: x\n", encoding="utf-8")

    problems = problems_of(path)

    keys = [re.findall(r":(\d+): ([\w.]+): ", problem)[0] for problem in problems]
    assert sorted(keys) == [
        ("4", "space.haed"),
        ("5", "search.mode"),
        ("5", "search.num_samples"),
        ("6", "seed"),
    ]


def test_defaults(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("space: {architecture: lstm, hidden_size: {int: [4, 8]}}\ndata:\n", encoding="utf-8")
    space = load_space(str(path))

    assert (space.name, space.seed, space.num_samples, space.mode) == ("study", 0, 6, "min")  # 4 to 8, and the default
    assert [parameter.name for parameter in space.varying] == ["hidden_size"]
    assert space.max_sequence_length == 20


def test_a_conditional_sequence_length_can_have_its_default(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE + "  sequence_length: {choice: [5, 10], when: {architecture: rnn}}\n", encoding="utf-8")
    assert load_space(str(path)).max_sequence_length == 20


def test_a_point_includes_its_constants(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    text = "  num_layers: 2\n  dropout: {choice: [0.3], when: {architecture: lstm}}\n  hidden_size: [4, 8]\n"
    path.write_text(SPACE + text, encoding="utf-8")
    space = load_space(str(path))

    assert space.point({"architecture": "rnn", "hidden_size": 4}) == {
        "architecture": "rnn", "num_layers": 2, "hidden_size": 4
    }  # fmt: skip
    window, network, training = space.configurations(space.point({"architecture": "lstm", "hidden_size": 8}))
    assert (network.num_layers, network.dropout, network.hidden_size) == (2, 0.3, 8)
    assert window.features == space.data.features
    assert training.batch_size == 64


@pytest.mark.parametrize(
    "initial",
    [
        "[]",
        "[{architecture: rnn, hidden_size: 4}]",
        "[{architecture: rnn, hidden_size: 4}, {architecture: rnn, hidden_size: 4}]",
        "[{architecture: rnn}]",
    ],
)
def test_a_grid_has_every_point_once_whatever_the_initial_ones(tmp_path: Path, initial: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        SPACE + f"  hidden_size: [4, 8, 16]\nsearch: {{sampler: grid, initial: {initial}}}\n",
        encoding="utf-8",
    )
    assert load_space(str(path)).num_samples == 6


@pytest.mark.parametrize(
    ("parameters", "different"),
    [
        ("  hidden_size: [4, 8]\n", 5),  # and the default, 16
        ("  dropout: [0.1, 0.2]\n", 2),  # one layer: it has no effect
        ("  num_layers: [1, 2]\n  dropout: [0.1, 0.2]\n", 6),
        ("  num_layers: [1, 2]\n  dropout: {choice: [0.1, 0.2], when: {num_layers: [2]}}\n", 6),
        ("  target: [close, log_return]\n  scaling: [minmax, relative]\n", 6),  # relative: always the log return
    ],
)
def test_there_are_no_more_trials_than_points_that_differ_in_effect(
    tmp_path: Path, parameters: str, different: int
) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE + parameters + "search: {num_samples: 50}\n", encoding="utf-8")
    space = load_space(str(path))
    assert (space.num_samples, space.requested_samples) == (different, 50)


def prices_of(sessions: int, columns: tuple[str, ...] = COLUMNS) -> Prices:
    close = 100 + np.sin(np.arange(sessions))
    return Prices(
        source="market.csv",
        dates=np.busday_offset("2001-01-01", np.arange(sessions)),
        columns=columns,
        values=np.column_stack([close] * len(columns)),
        lines=np.array([], dtype=int),
    )


FOLDED = "data: {test_size: 20%s}\nvalidation: {folds: 2, fold_size: 10%s}\n"


def space_with(path: Path, space: str, data: str = "", validation: str = "") -> Space:
    path.write_text(SPACE + space + FOLDED % (data, validation), encoding="utf-8")
    return load_space(str(path))


@pytest.mark.parametrize(
    ("space", "data", "warm_up"),
    [
        ("  features: ohlc\n", "", 0),
        ("  features: [returns, technical]\n", "", 59),
        ("  features: [ohlc, [close, volatility_30]]\n", "", 30),
        ("  features: {choice: [returns, close_only], when: {architecture: lstm}}\n", ", features: ma_ratio_40", 39),
        ("", ", features: technical", 59),
        ("", ", features: ohlc, also: [sp500]", 1),
    ],
)
def test_folds_leave_room_for_the_longest_warm_up(tmp_path: Path, space: str, data: str, warm_up: int) -> None:
    read = space_with(tmp_path / "space.yaml", space + "  sequence_length: [3, 5]\n", data)
    needed = warm_up + 5 + 1 + 2 * 10 + 20  # the warm-up, a window, its target, the folds and the test block
    splits = read.split(prices_of(needed))
    assert read.max_warm_up == warm_up
    assert splits.folds[0].train == range(warm_up + 6)
    with pytest.raises(SpaceError) as caught:
        read.split(prices_of(needed - 1))
    (problem,) = caught.value.problems
    assert f"need {needed}" in problem or not warm_up
    if warm_up > 1:
        assert f"first {warm_up} sessions" in problem
        assert problem.count("; ") >= 2


def test_a_sliding_part_can_be_shorter_than_the_warm_up(tmp_path: Path) -> None:
    sliding = ", window: sliding, train_size: 10"
    read = space_with(tmp_path / "space.yaml", "  features: volatility_50\n  sequence_length: 5\n", "", sliding)
    splits = read.split(prices_of(50 + 6 + 2 * 10 + 20))
    assert splits.folds[0].train == range(46, 56)  # windows start at session 50
    with pytest.raises(SpaceError, match="volatility_50 has no value on the first 50 sessions"):
        read.split(prices_of(50 + 5 + 2 * 10 + 20))


@st.composite
def short_studies(draw: st.DrawFn) -> tuple[dict, int]:
    """A space and the length of a series, which is often too short for it."""
    longest = draw(st.integers(1, 120))
    windows = [
        None, longest, [1, longest + 1], {"int": [1, longest + 4]}, {"int": [2, 130], "log": True},
        {"int": [5, 95], "step": 15}, {"choice": [30, 60], "when": {"architecture": ["gru"]}},
    ]  # fmt: skip
    space = {"architecture": ["rnn", "gru"], "sequence_length": draw(st.sampled_from(windows))}
    if space["sequence_length"] is None:
        del space["sequence_length"]
    if draw(st.booleans()):
        space["features"] = draw(st.sampled_from(["ohlc", "technical", [["close", "volatility_200"], "returns"]]))
    validation: dict = {"folds": draw(st.integers(1, 12)), "fold_size": draw(st.integers(2, 300)), "seeds": 1}
    if draw(st.booleans()):
        validation |= {"window": "sliding", "train_size": draw(st.integers(2, 900))}
    data = {"test_size": draw(st.integers(1, 300)), "horizon": draw(st.sampled_from([1, 1, 5, 60]))}
    search = {}
    if windows[-1] in space.values() and draw(st.booleans()):
        search = {"initial": [{"architecture": "gru", "sequence_length": 60}]}
    return {"data": data, "validation": validation, "space": space, "search": search}, draw(st.integers(3, 1200))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(study=short_studies())
def test_a_series_that_is_too_short_gets_settings_that_fit_it(tmp_path: Path, study: tuple[dict, int]) -> None:
    """The line of the message is typed as it is, into a shell. Where there is none, the smallest study does not fit."""
    contents, sessions = study
    path, prices = tmp_path / "space.yaml", prices_of(sessions)
    path.write_text(yaml.safe_dump(contents, sort_keys=False), encoding="utf-8")
    space = load_space(str(path))
    try:
        space.split(prices)
    except SpaceError as error:
        (problem,) = error.problems
    else:
        assert space.fitting_settings(prices) == []
        return
    _, found, line = problem.partition("; use a longer series, or add --fit, which does the same as ")
    if not found:
        assert "; no smaller sizes fit either; " in problem
        minimum = space.max_warm_up + 1 + 2 * (space.data.horizon - 1) + space.data.horizon + 2 + 1
        assert sessions < minimum or contents["search"]  # the initial point needs its long window
        return
    words = shlex.split(line)
    assert words[::2] == ["--set"] * (len(words) // 2)
    overrides = [(*word.split("=", 1), f"--set {word}") for word in words[1::2]]
    typed = load_space(str(path), overrides)
    splits = typed.split(prices)
    fitted = space.with_settings(space.fitting_settings(prices))
    assert typed == fitted
    assert fitted.split(prices) == splits
    assert load_space(str(path)) == space  # itself unchanged
    if "space.sequence_length" not in line and sessions > 500 and space.data.horizon < 60:
        assert len(splits.test) >= min(40, space.data.test_size)
        assert len(splits.folds[0].train) >= min(sessions // 4, space.validation.train_size or sessions)


@pytest.mark.parametrize(
    ("validation", "problem", "line"),
    [
        ("{folds: 3, fold_size: 40, window: sliding, train_size: 300}", "validation.train_size: market.csv: 431 sess",
         "--set validation.train_size=225"),
        ("{folds: 3, fold_size: 40, window: sliding, train_size: 15}", "validation.train_size: market.csv: a window of",
         "--set validation.train_size=21"),
        ("{folds: 3, fold_size: 200}", "validation.folds: market.csv: 431 sessions are too few",
         "--set validation.fold_size=58 --set data.test_size=40"),
    ],
)  # fmt: skip
def test_what_makes_a_series_too_short_is_named(tmp_path: Path, validation: str, problem: str, line: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE + f"data: {{test_size: 86}}\nvalidation: {validation}\n", encoding="utf-8")
    with pytest.raises(SpaceError) as caught:
        load_space(str(path)).split(prices_of(431))
    assert problem in str(caught.value)
    assert str(caught.value).endswith(f"which does the same as {line}")


@pytest.mark.parametrize(
    ("space", "data", "words"),
    [
        ("", "", "data.features: volume needs the column volume; market.csv: there is no Volume column; "),
        ("  features: [ohlc, [log_return, volume_change]]\n", "",
         "space.features: volume_change needs the column volume; market.csv: there is no Volume column; "),
    ],
)  # fmt: skip
def test_a_series_without_a_column_of_a_feature(tmp_path: Path, space: str, data: str, words: str) -> None:
    bare = prices_of(200, COLUMNS[:4])
    with pytest.raises(SpaceError) as caught:
        space_with(tmp_path / "space.yaml", space, data).split(bare)
    (problem,) = caught.value.problems
    assert words in problem
    for features in ("ohlc", "returns", "technical"):
        assert space_with(tmp_path / "space.yaml", f"  features: {features}\n").split(bare).folds


def test_a_volume_that_is_mostly_zero_is_rejected(tmp_path: Path) -> None:
    prices = prices_of(200)
    prices.values[:, 4] = 0
    with pytest.raises(
        SpaceError, match=r"volume needs a volume; market[.]csv: the volume is 0 on 200 of 200 sessions"
    ):
        space_with(tmp_path / "space.yaml", "").split(prices)
    assert space_with(tmp_path / "space.yaml", "  features: returns\n").split(prices).folds


def test_other_series_are_inputs_of_every_trial(tmp_path: Path) -> None:
    text = "  features: [ohlc, [returns, volume_change]]\n"
    read = space_with(tmp_path / "space.yaml", text, ', also: [sp500, "^VIX", {source: yahoo, ticker: KRW=X, lag: 0}]')
    for point, features in (
        ({"features": "ohlc"}, ("open", "high", "low", "close")),
        ({"features": "log_return,range,gap,day_of_week,volume_change"},
         ("log_return", "range", "gap", "weekday_sin", "weekday_cos", "volume_change")),
    ):  # fmt: skip
        window, _, _ = read.configurations({"architecture": "lstm", **point})
        assert window.features == features
        assert window.inputs == (*features, "sp500", "^VIX", "KRW=X")
    assert [parameter.all_values() for parameter in read.parameters if parameter.name == "features"] == [
        ("ohlc", "log_return,range,gap,day_of_week,volume_change")
    ]
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(read.as_yaml(), encoding="utf-8")
    assert load_space(str(resolved)) == read


def test_rungs_are_unique_and_below_max_epochs(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE + "scheduler: {max_epochs: 9, grace_period: 2, reduction_factor: 1.25}\n", encoding="utf-8")
    assert load_space(str(path)).scheduler.rungs == (2, 3, 4, 5, 7, 8)


PRICES = "Date,Open,High,Low,Close\n2019-01-02,10,12,9,11\n2019-01-03,11,13,10,12\n"


@pytest.fixture
def price_files(tmp_path, monkeypatch):
    """Write three files below the current folder: prices/b.csv, prices/a.csv and 삼성.csv."""
    (tmp_path / "prices").mkdir()
    for name in ("prices/b.csv", "prices/a.csv", "삼성.csv"):
        (tmp_path / name).write_text(PRICES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def test_each_file_of_sources_becomes_one_study(price_files, space_file):
    path = str(space_file(data={"source": None, "sources": ["삼성.csv", "prices/*.csv"]}))
    Path(path).write_text(Path(path).read_text(encoding="utf-8").replace("  source: null\n", ""), encoding="utf-8")
    studies = load_space(path).studies()
    assert [(study.name, study.data.source) for study in studies] == [
        ("small-series", "삼성.csv"), ("small-a", "prices/a.csv"), ("small-b", "prices/b.csv"),
    ]  # fmt: skip
    assert all(study.data.sources == () and study.studies() == [study] for study in studies)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ('["prices/*.txt"]', "'prices/*.txt' is not a file, nor matches any; check the pattern"),
        ("[prices/c.csv]", "is not a file, nor matches any; did you mean prices/"),
        ("[prices]", "is not a file, nor matches any; write a pattern of its files, such as prices/*.csv"),
        ("[yahoo]", "'yahoo' is not a file; each file becomes one study; write tickers"),
        ("[prices/a.csv, prices/a.csv]", "prices/a.csv is repeated"),
        ("prices/a.csv", "is not a list; write [...]"),
    ],
)
def test_sources_without_a_file_are_an_error(price_files, space_file, sources, message):
    with pytest.raises(SpaceError) as caught:
        load_space(str(space_file()), [("data.sources", sources, f"--set data.sources={sources}")])
    (problem,) = caught.value.problems
    assert message.replace("'", '"') in problem.replace("'", '"')


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        ({"source": "nasdaq"}, {"tickers": "['^KS11']"}, {"source": "yahoo", "tickers": ("^KS11",)}),
        ({"source": "nasdaq"}, {"ticker": "SPY"}, {"source": "yahoo", "ticker": "SPY"}),
        ({"source": "nasdaq"}, {"sources": "[sp500]"}, {"sources": ("sp500",)}),
        ({"source": "yahoo", "tickers": ["A", "B"]}, {"source": "sp500"}, {"source": "sp500", "tickers": ()}),
        ({"source": "yahoo", "ticker": "A"}, {"tickers": "[B, C]"}, {"ticker": None, "tickers": ("B", "C")}),
        ({"source": "yahoo", "ticker": "A"}, {"source": "yahoo"}, {"source": "yahoo", "ticker": "A"}),
        ({"source": "yahoo", "tickers": ["A"]}, {"sources": "[sp500]"}, {"sources": ("sp500",), "tickers": ()}),
    ],
)
def test_a_series_of_an_option_replaces_that_of_the_file(data, options, expected, space_file):
    overrides = [(f"data.{name}", text, f"--set data.{name}={text}") for name, text in options.items()]
    space = load_space(str(space_file(data=data)), overrides)
    assert {name: getattr(space.data, name) for name in expected} == expected


def market_file(path, column, rows=300):
    """Write a random walk; a bad value in one column on one day."""
    random = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, rows)))
    cells = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": close * 10}
    texts = {name: [f"{value:.2f}" for value in values] for name, values in cells.items()}
    texts[column][150] = "-"
    days = np.busday_offset("2015-01-01", np.arange(rows), roll="forward")
    lines = (",".join(line) for line in zip(map(str, days), *texts.values(), strict=True))
    path.write_text("\n".join(["Date,Open,High,Low,Close,Volume", *lines]))


@pytest.mark.parametrize(
    ("column", "features", "expected"),
    [
        ("high", "close_volume", ("close", "volume")),
        ("volume", "returns", None),
        ("volume", None, ("open", "high", "low", "close")),  # the default without the volume
        ("high", None, "data.features: high needs the column high; market.csv:152: High: missing on 2015-07-30; "),
        ("volume", "ohlcv", "data.features: volume needs the column volume; market.csv:152: Volume: missing on "),
        ("close", "close_only", "market.csv:152: Close: missing on 2015-07-30; "),
    ],
)
def test_a_bad_value_refuses_only_a_study_that_uses_its_column(
    column, features, expected, space_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    market_file(tmp_path / "market.csv", column)
    data = {"source": "market.csv", "test_size": 40, **({"features": features} if features else {})}
    space = load_space(str(space_file(data=data, validation={"window": "expanding", "train_size": None})))

    def prepared():
        prices = prepare(space.data)
        fitting = space.adapted_to(prices)
        fitting.split(prices)
        return fitting

    if isinstance(expected, str):
        with pytest.raises(ValueError, match=re.escape(expected)):
            prepared()
    else:
        assert prepared().data.features == (expected or space.data.features)


def test_a_series_of_closes_alone_is_searched_with_the_close(space_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    market_file(tmp_path / "full.csv", "volume")
    lines = [line.split(",") for line in (tmp_path / "full.csv").read_text().split("\n")]
    (tmp_path / "market.csv").write_text("\n".join(f"{line[0]},{line[4]}" for line in lines))
    data = {"source": "market.csv", "test_size": 40}
    space = load_space(str(space_file(data=data, validation={"window": "expanding", "train_size": None})))
    prices = prepare(space.data)
    fitting = space.adapted_to(prices)
    assert fitting.data.features == ("close",)
    assert len(fitting.split(prices).test) == 40
