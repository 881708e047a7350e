"""Plain loops over days that the fast metrics are held against."""

import math


def slow_rmse(forecast, actual):
    total = 0.0
    for one, other in zip(forecast, actual, strict=True):
        total += (one - other) ** 2
    return math.sqrt(total / len(actual))


def slow_mae(forecast, actual):
    total = 0.0
    for one, other in zip(forecast, actual, strict=True):
        total += abs(one - other)
    return total / len(actual)


def slow_direction(forecast, actual, previous):
    right = moved = forecast_moves = 0
    for one, came, before in zip(forecast, actual, previous, strict=True):
        forecast_moves += one != before
        if came == before:
            continue
        moved += 1
        right += (one > before and came > before) or (one < before and came < before)
    return right / moved if moved and forecast_moves else math.nan
