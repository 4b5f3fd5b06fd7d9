"""What really happened to the patients of the sample: the answers that the models learn.

The table `encounters` does not hold them; in a real hospital they are known months later. Each is a function
of the row plus chance, so a model explains most of it and never all.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["length_of_stay", "readmitted"]

Floats = npt.NDArray[np.float64]


def length_of_stay(encounters: pa.Table, *, seed: int = 11) -> Floats:
    """Days in hospital, of shape [rows], at least half a day, in steps of a tenth.

    A value that is NULL was not measured; the patient had one all the same, taken to be the typical one.
    """
    generator = np.random.default_rng(seed)
    returns = _values(encounters, "readmission_count")
    days = (
        1.5
        + 1.1 * returns
        + 1.2 * (_values(encounters, "age") > 74)
        + 2.0 * _values(encounters, "dialysis")
        + _values(encounters, "pneumonia") * (1.5 + 0.4 * returns)
        + 1.4 * _values(encounters, "malnutrition")
        + 0.8 * _values(encounters, "heart_failure")
        + 0.6 * _values(encounters, "substance_dependence")
        + 1.0 * (_values(encounters, "hematocrit", 40.0) < 33)
        + 0.05 * np.maximum(_values(encounters, "blood_urea_nitrogen", 16.0) - 20, 0)
        + 0.02 * np.maximum(_values(encounters, "glucose", 110.0) - 140, 0)
    )
    stays: Floats = np.maximum(np.round(days + 0.9 * generator.standard_normal(encounters.num_rows), 1), 0.5)
    return stays


def readmitted(encounters: pa.Table, *, seed: int = 13) -> npt.NDArray[np.int64]:
    """1 where the patient was back within 30 days, else 0, of shape [rows]."""
    generator = np.random.default_rng(seed)
    log_odds = (
        -1.9
        + 0.55 * _values(encounters, "readmission_count")
        + 0.015 * (_values(encounters, "age") - 58)
        + 0.9 * _values(encounters, "heart_failure")
        + 0.8 * _values(encounters, "substance_dependence")
        + 0.5 * _values(encounters, "depression")
        + 0.4 * _values(encounters, "diabetes")
        + 0.03 * (_values(encounters, "blood_urea_nitrogen", 16.0) - 16)
        - 0.03 * (_values(encounters, "hematocrit", 40.0) - 40)
        + _effect(encounters, "admission_type", {"elective": -0.4, "emergency": 0.4})
        + _effect(encounters, "facility", {"Harbor": 0.3, "Lakeview": -0.3})
        + _effect(encounters, "gender", {"M": 0.1})
    )
    probability = 1 / (1 + np.exp(-log_odds))
    back: npt.NDArray[np.int64] = (generator.random(encounters.num_rows) < probability).astype(np.int64)
    return back


def _values(encounters: pa.Table, column: str, typical: float = 0.0) -> Floats:
    """A number or flag as float64 of shape [rows], NULL being `typical`."""
    values: Floats = encounters[column].cast(pa.float64()).fill_null(typical).to_numpy()
    return values


def _effect(encounters: pa.Table, column: str, effects: dict[str, float]) -> Floats:
    """The effect of each row's category, of shape [rows]; 0 for a category that is not named."""
    category = encounters[column].to_numpy()
    total: Floats = np.sum([effect * (category == value) for value, effect in effects.items()], axis=0)
    return total
