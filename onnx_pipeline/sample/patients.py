"""The statistics behind the sample: how age, conditions, vitals and lab values hang together.

Made up, within textbook ranges. Only additions, products and roundings of the generator's numbers, no exp or
log: these may differ in the last bit between machines. Measurements are rounded as an instrument shows them,
which also keeps a tree's thresholds, midway between two values, clear of float32 rounding.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["draw_patients"]

Column = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

_FACILITY_SHARES = (0.30, 0.25, 0.20, 0.15, 0.10)
_ADMISSION_TYPE_SHARES = (0.25, 0.55, 0.20)
_GENDER_SHARES = (0.53, 0.47)
_READMISSION_COUNT_SHARES = (0.55, 0.20, 0.12, 0.07, 0.04, 0.02)
_FLAG_RATES = {
    "dialysis": 0.05,
    "asthma": 0.08,
    "iron_deficiency": 0.10,
    "pneumonia": 0.09,
    "substance_dependence": 0.06,
    "depression": 0.12,
    "malnutrition": 0.06,
    "hemoglobin_disorder": 0.08,
    "heart_failure": 0.11,
    "diabetes": 0.18,
    "fibrosis": 0.02,
}


def draw_patients(generator: np.random.Generator, rows: int) -> dict[str, Column]:
    """Draw `rows` patients: arrays of shape [rows] by column name, without NULLs.

    Categories are int8 positions in their list of values, age and readmission_count int8, flags bool, vitals
    float32, labs float64. What is drawn depends on the generator's state and on `rows`.
    """
    flags = {name: generator.random(rows, dtype=np.float32) < rate for name, rate in _FLAG_RATES.items()}
    present = {name: flag.astype(np.float32) for name, flag in flags.items()}  # bool times int would be int64
    severity = generator.standard_exponential(rows, dtype=np.float32)  # most are well, a few very ill
    old = generator.standard_normal(rows, dtype=np.float32)
    age = np.clip(np.rint(58 + 18 * old), 18, 99).astype(np.int8)
    return {
        "facility": _pick(generator, rows, _FACILITY_SHARES),
        "gender": _pick(generator, rows, _GENDER_SHARES),
        "admission_type": _pick(generator, rows, _ADMISSION_TYPE_SHARES),
        "age": age,
        "readmission_count": _pick(generator, rows, _READMISSION_COUNT_SHARES),
        **flags,
        **_vitals(generator, present, severity, old),
        **_labs(generator, present, severity, old),
    }


def _vitals(
    generator: np.random.Generator, present: dict[str, Floats], severity: Floats, old: Floats
) -> dict[str, Column]:
    def noise(deviation: float) -> Floats:
        return np.float32(deviation) * generator.standard_normal(severity.size, dtype=np.float32)

    pressure = noise(1)
    pneumonia = present["pneumonia"]
    return {
        "heart_rate": _measure(76 + 5 * severity + 6 * pneumonia + noise(11), 0, 35, 200),
        "systolic_bp": _measure(124 + 6 * old - 3 * severity + 14 * pressure, 0, 70, 230),
        "diastolic_bp": _measure(76 - 2 * severity + 8 * pressure + noise(5), 0, 35, 140),
        "respiratory_rate": _measure(15 + severity + 4 * pneumonia + noise(2), 0, 8, 45),
        "temperature": _measure(np.float32(36.7) + pneumonia + noise(0.4), 1, 34, 42),
        "oxygen_saturation": _measure(98 - severity - 3 * pneumonia + noise(1.2), 0, 70, 100),
        "bmi": _measure(28 + 3 * present["diabetes"] - 6 * present["malnutrition"] + noise(5), 1, 14, 60),
    }


def _labs(
    generator: np.random.Generator, present: dict[str, Floats], severity: Floats, old: Floats
) -> dict[str, Column]:
    def noise(deviation: float) -> Floats:
        return np.float32(deviation) * generator.standard_normal(severity.size, dtype=np.float32)

    dialysis, diabetes = present["dialysis"], present["diabetes"]
    iron_deficiency, hemoglobin_disorder = present["iron_deficiency"], present["hemoglobin_disorder"]
    labs = {
        "hematocrit": (41 - 6 * iron_deficiency - 4 * hemoglobin_disorder + noise(4), 1, 15, 60),
        "neutrophils": (4.5 + severity + 4 * present["pneumonia"] + noise(1.5), 1, 0.1, 40),
        "sodium": (139 - 0.7 * severity - 2 * present["heart_failure"] + noise(2.5), 0, 115, 160),
        "potassium": (4.1 + 0.6 * dialysis + noise(0.4), 1, 2, 8),
        "glucose": (98 + 6 * severity + 55 * diabetes + noise(16), 0, 40, 600),
        "blood_urea_nitrogen": (11 + 2 * old + 5 * severity + 28 * dialysis + noise(3), 0, 3, 150),
        "creatinine": (0.8 + 0.12 * severity + 4.2 * dialysis + noise(0.15), 2, 0.3, 15),
    }
    return {
        name: _measure(values.astype(np.float64), decimals, low, high)
        for name, (values, decimals, low, high) in labs.items()
    }


def _pick(generator: np.random.Generator, rows: int, shares: tuple[float, ...]) -> npt.NDArray[np.int8]:
    """Positions in `shares`, each drawn as often as its share says."""
    drawn = generator.random(rows, dtype=np.float32)
    position = np.zeros(rows, np.int8)
    for bound in np.cumsum(shares)[:-1].astype(np.float32):
        position += drawn >= bound
    return position


def _measure(values: Column, decimals: int, low: float, high: float) -> Column:
    """Round to what the instrument shows, and keep to what it can show; the dtype stays."""
    return np.clip(np.round(values, decimals), low, high)
