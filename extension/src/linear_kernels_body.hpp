// Included twice, by linear_plain.cpp and linear_fused.cpp, for processors without and with FMA. Each defines
// `multiply_add`. Loops have no branches and no calls, so that the compiler takes several rows at a time; nothing of
// the standard library is instantiated here, since a linker might give code for one processor to the other.

// NOLINTBEGIN(*-avoid-c-arrays): std::array is of the standard library
// Rows whose prepared columns, and some sums of theirs, lie in the first cache.
constexpr std::size_t rows_of_a_tile = 1024;

// One of two numbers, by their bits: a choice that the compiler takes for several rows at a time.
inline float choose(bool first, float one, float other) {
    std::uint32_t bits_of_one = 0;
    std::uint32_t bits_of_other = 0;
    __builtin_memcpy(&bits_of_one, &one, sizeof bits_of_one);
    __builtin_memcpy(&bits_of_other, &other, sizeof bits_of_other);
    const std::uint32_t mask = 0U - static_cast<std::uint32_t>(first);
    const std::uint32_t bits = (bits_of_one & mask) | (bits_of_other & ~mask);
    float chosen = 0;
    __builtin_memcpy(&chosen, &bits, sizeof chosen);
    return chosen;
}

// All bits set are NaN.
inline float nan_where(bool is_null, float value) {
    std::uint32_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof bits);
    bits |= 0U - static_cast<std::uint32_t>(is_null);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

// Columns that are added together, so that the sums are read and written once for all of them.
template <std::size_t Count>
struct Group {
    const float* elements[Count];
    const std::int32_t* indicators[Count];
    float imputed[Count];
    float offset[Count];
    float scale[Count];
};

template <std::size_t Count>
Group<Count> group_of(const PreparationView& steps, const Run<float>* columns, std::size_t first) {
    Group<Count> group{};
    for (std::size_t place = 0; place < Count; ++place) {
        const std::size_t feature = first + place;
        group.elements[place] = columns[place].elements;
        group.indicators[place] = columns[place].indicators;
        group.imputed[place] = steps.imputed == nullptr ? 0.0F : steps.imputed[feature];
        group.offset[place] = steps.scales == nullptr ? 0.0F : steps.offsets[feature];
        group.scale[place] = steps.scales == nullptr ? 0.0F : steps.scales[feature];
    }
    return group;
}

template <bool Nulls, bool Impute, bool Scale, std::size_t Count>
inline float prepared(const Group<Count>& group, std::size_t place, std::size_t row) {
    float value = group.elements[place][row];
    if (Nulls) value = nan_where(group.indicators[place][row] == sql::null_data, value);
    if (Impute) value = choose(value != value, group.imputed[place], value);
    if (Scale) value = (value - group.offset[place]) * group.scale[place];
    return value;
}

// Adds the group's products to one sum.
template <bool Nulls, bool Impute, bool Scale, std::size_t Count>
void add(const Group<Count>& group, const float* weights, std::size_t rows, float* __restrict sums) {
    const Group<Count> columns = group;  // of this function alone, so that nothing is read anew for each row
    float weight[Count];
    for (std::size_t place = 0; place < Count; ++place) weight[place] = weights[place];
    for (std::size_t row = 0; row < rows; ++row) {
        float sum = sums[row];
        for (std::size_t place = 0; place < Count; ++place) {
            sum = multiply_add(prepared<Nulls, Impute, Scale>(columns, place, row), weight[place], sum);
        }
        sums[row] = sum;
    }
}

template <bool Nulls, bool Impute, bool Scale>
void prepare(const Group<1>& group, std::size_t rows, float* __restrict target) {
    const Group<1> column = group;
    for (std::size_t row = 0; row < rows; ++row) target[row] = prepared<Nulls, Impute, Scale>(column, 0, row);
}

// Calls `use` with the three facts as compile-time constants.
template <bool Nulls, class Use>
void with_steps(bool impute, bool scale, Use use) {
    if (impute && scale) {
        use.template call<Nulls, true, true>();
    } else if (impute) {
        use.template call<Nulls, true, false>();
    } else if (scale) {
        use.template call<Nulls, false, true>();
    } else {
        use.template call<Nulls, false, false>();
    }
}

template <std::size_t Count>
struct Adding {
    const Group<Count>& group;
    const float* weights;
    std::size_t rows;
    float* sums;
    template <bool Nulls, bool Impute, bool Scale>
    void call() const {
        add<Nulls, Impute, Scale, Count>(group, weights, rows, sums);
    }
};

struct Preparing {
    const Group<1>& group;
    std::size_t rows;
    float* target;
    template <bool Nulls, bool Impute, bool Scale>
    void call() const {
        prepare<Nulls, Impute, Scale>(group, rows, target);
    }
};

void prepare_column(const PreparationView& steps, const Run<float>& column, std::size_t feature, std::size_t rows,
                    float* target) {
    const Group<1> group = group_of<1>(steps, &column, feature);
    const Preparing preparing{group, rows, target};
    const bool impute = steps.imputed != nullptr;
    const bool scale = steps.scales != nullptr;
    if (group.indicators[0] != nullptr) {
        with_steps<true>(impute, scale, preparing);
    } else {
        with_steps<false>(impute, scale, preparing);
    }
}

template <std::size_t Count>
void add_columns(const LinearView& linear, const Run<float>* columns, std::size_t first, const float* weights,
                 std::size_t rows, float* sums) {
    const Group<Count> group = group_of<Count>(linear, columns + first, first);
    const Adding<Count> adding{group, weights + first, rows, sums};
    const bool impute = linear.imputed != nullptr;
    const bool scale = linear.scales != nullptr;
    if (group.indicators[0] != nullptr) {
        with_steps<true>(impute, scale, adding);
    } else {
        with_steps<false>(impute, scale, adding);
    }
}

// Whether all of so many columns from `first` on have indicators, or none of them.
bool are_alike(const Run<float>* columns, std::size_t first, std::size_t count, std::size_t features) {
    if (first + count > features) return false;
    for (std::size_t place = 1; place < count; ++place) {
        if ((columns[first].indicators == nullptr) != (columns[first + place].indicators == nullptr)) return false;
    }
    return true;
}

// One sum: each column is read once, straight from where the host put it.
void sum_straight(const LinearView& linear, const Run<float>* columns, const float* weights, std::size_t rows,
                  float* sums) {
    constexpr std::size_t some = columns_at_once / 2;
    for (std::size_t first = 0; first < linear.features;) {
        if (are_alike(columns, first, columns_at_once, linear.features)) {
            add_columns<columns_at_once>(linear, columns, first, weights, rows, sums);
            first += columns_at_once;
        } else if (are_alike(columns, first, some, linear.features)) {
            add_columns<some>(linear, columns, first, weights, rows, sums);
            first += some;
        } else {
            add_columns<1>(linear, columns, first, weights, rows, sums);
            ++first;
        }
    }
}

// Adds prepared columns to two sums: a value that was read is used twice.
template <std::size_t Count>
void add_to_two(const float* const* columns, const float* weights, const float* other_weights, std::size_t rows,
                float* __restrict sums, float* __restrict other_sums) {
    const float* values[Count];
    float weight[Count];
    float other_weight[Count];
    for (std::size_t place = 0; place < Count; ++place) {
        values[place] = columns[place];
        weight[place] = weights[place];
        other_weight[place] = other_weights[place];
    }
    for (std::size_t row = 0; row < rows; ++row) {
        float sum = sums[row];
        float other_sum = other_sums[row];
        for (std::size_t place = 0; place < Count; ++place) {
            const float value = values[place][row];
            sum = multiply_add(value, weight[place], sum);
            other_sum = multiply_add(value, other_weight[place], other_sum);
        }
        sums[row] = sum;
        other_sums[row] = other_sum;
    }
}

// Adds prepared columns from `first` on to all sums, of rows that fit the first cache.
template <std::size_t Count>
void add_tile(const LinearView& linear, const float* const* columns, std::size_t first, std::size_t rows, float* sums) {
    std::size_t sum = 0;
    for (; sum + 2 <= linear.sums; sum += 2) {
        const float* weights = linear.weights + sum * linear.features + first;
        float* target = sums + sum * rows_together;
        add_to_two<Count>(columns, weights, weights + linear.features, rows, target, target + rows_together);
    }
    if (sum == linear.sums) return;
    Group<Count> group{};
    for (std::size_t place = 0; place < Count; ++place) group.elements[place] = columns[place];
    add<false, false, false, Count>(group, linear.weights + sum * linear.features + first, rows,
                                    sums + sum * rows_together);
}

// Several sums: some columns at a time are prepared once for all of them.
void sum_by_tiles(const LinearView& linear, const Run<float>* columns, std::size_t rows, float* sums, float* tiles) {
    for (std::size_t first = 0; first < linear.features; first += columns_at_once) {
        const std::size_t left = linear.features - first;
        const std::size_t count = left < columns_at_once ? left : columns_at_once;
        for (std::size_t place = 0; place < count; ++place) {
            prepare_column(linear, columns[first + place], first + place, rows, tiles + place * rows_together);
        }
        for (std::size_t start = 0; start < rows; start += rows_of_a_tile) {
            const std::size_t these = rows - start < rows_of_a_tile ? rows - start : rows_of_a_tile;
            const float* prepared[columns_at_once];
            for (std::size_t place = 0; place < count; ++place) prepared[place] = tiles + place * rows_together + start;
            if (count == columns_at_once) {
                add_tile<columns_at_once>(linear, prepared, first, these, sums + start);
                continue;
            }
            for (std::size_t place = 0; place < count; ++place) {
                add_tile<1>(linear, prepared + place, first + place, these, sums + start);
            }
        }
    }
}

void sum(const LinearView& linear, const Run<float>* columns, std::size_t rows, float* sums, float* tiles) {
    const bool mirrored = linear.is_mirrored;
    for (std::size_t sum = 0; sum < linear.sums; ++sum) {
        for (std::size_t row = 0; row < rows; ++row) sums[sum * rows_together + row] = 0;
    }
    if (mirrored || linear.sums == 1) {
        const std::size_t last = linear.sums - 1;
        sum_straight(linear, columns, linear.weights + last * linear.features, rows, sums + last * rows_together);
    } else {
        sum_by_tiles(linear, columns, rows, sums, tiles);
    }
    for (std::size_t sum = 0; sum < linear.sums; ++sum) {
        float* __restrict target = sums + sum * rows_together;
        const float intercept = linear.intercepts[sum];
        for (std::size_t row = 0; row < rows; ++row) target[row] += intercept;
    }
    if (!mirrored) return;
    const float* __restrict second = sums + rows_together;
    for (std::size_t row = 0; row < rows; ++row) sums[row] = -second[row];
}

// e^x for x <= 0, within two units in the last place; below -87, as much as there.
inline float exponential(float x) {
    constexpr float least = -87.0F;
    constexpr float per_power = 1.44269504F;  // 1 / ln 2
    constexpr float ln2_high = 0.693359375F;
    constexpr float ln2_low = -2.12194440e-4F;
    // Adding it rounds to a whole number, which is then in the low bits.
    constexpr float rounding = 12582912.0F;
    const float clipped = choose(x < least, least, x);
    const float shifted = clipped * per_power + rounding;
    const float power = shifted - rounding;
    const float rest = (clipped - power * ln2_high) - power * ln2_low;
    float series = 1.9875691500e-4F;
    series = series * rest + 1.3981999507e-3F;
    series = series * rest + 8.3334519073e-3F;
    series = series * rest + 4.1665795894e-2F;
    series = series * rest + 1.6666665459e-1F;
    series = series * rest + 5.0000001201e-1F;
    series = series * rest * rest + rest + 1.0F;
    std::uint32_t bits = 0;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127U) << 23U;
    float factor = 0;
    __builtin_memcpy(&factor, &bits, sizeof factor);
    return series * factor;
}

void logistic(std::size_t rows, float* __restrict values) {
    for (std::size_t row = 0; row < rows; ++row) {
        const float value = values[row];
        const float share = 1.0F / (1.0F + exponential(-__builtin_fabsf(value)));
        const float rest = 1.0F - share;
        values[row] = choose(value < 0, rest, share);
    }
}

void softmax(std::size_t count, std::size_t rows, float* sums, float* __restrict tile) {
    for (std::size_t row = 0; row < rows; ++row) tile[row] = sums[row];
    for (std::size_t sum = 1; sum < count; ++sum) {
        const float* __restrict values = sums + sum * rows_together;
        for (std::size_t row = 0; row < rows; ++row)
            tile[row] = choose(values[row] > tile[row], values[row], tile[row]);
    }
    for (std::size_t sum = 0; sum < count; ++sum) {
        float* __restrict values = sums + sum * rows_together;
        for (std::size_t row = 0; row < rows; ++row) values[row] = exponential(values[row] - tile[row]);
    }
    for (std::size_t row = 0; row < rows; ++row) tile[row] = sums[row];
    for (std::size_t sum = 1; sum < count; ++sum) {
        const float* __restrict values = sums + sum * rows_together;
        for (std::size_t row = 0; row < rows; ++row) tile[row] += values[row];
    }
    for (std::size_t sum = 0; sum < count; ++sum) {
        float* __restrict values = sums + sum * rows_together;
        for (std::size_t row = 0; row < rows; ++row) values[row] /= tile[row];
    }
}

void finish(Finish how, std::size_t count, std::size_t rows, float* sums, float* tile) {
    if (how == Finish::softmax) softmax(count, rows, sums, tile);
    if (how != Finish::logistic) return;
    for (std::size_t sum = 0; sum < count; ++sum) logistic(rows, sums + sum * rows_together);
}
// NOLINTEND(*-avoid-c-arrays)
