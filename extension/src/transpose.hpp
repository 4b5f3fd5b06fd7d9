// From columns to rows: the order in which a model's [N, F] tensor lies in memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "abi/sql.hpp"
#include "convert.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace onnx_sql {

// Columns that are transposed together: a register of four floats, and few enough streams for the hardware to prefetch.
constexpr std::size_t columns_together = 4;

// How far ahead of its reading a column is fetched: the processor's own prefetching starts anew with each column of
// each batch, which took a third of the time.
constexpr std::size_t bytes_ahead = 4096;
constexpr std::size_t cache_line = 64;

// Asks for the memory that is read soon. Past an array's end this asks for nothing that is ever read.
template <class T>
void fetch_ahead(const T* values, std::size_t row) {
    // An integer, because a pointer past the end of an array is none.
    const auto address = reinterpret_cast<std::uintptr_t>(values + row) + bytes_ahead;
    __builtin_prefetch(reinterpret_cast<const void*>(address));  // NOLINT(performance-no-int-to-ptr)
}

// The same for each column and its indicators, once for each line of elements.
template <class Element>
void fetch_ahead(const std::array<Run<Element>, columns_together>& columns, std::size_t row) {
    if (row * sizeof(Element) % cache_line != 0) return;
    for (const Run<Element>& column : columns) {
        fetch_ahead(column.elements, row);
        if (column.indicators != nullptr) fetch_ahead(column.indicators, row);
    }
}

template <class Element>
Element element_at(const Run<Element>& column, std::size_t row) {
    const bool is_null = column.indicators != nullptr && column.indicators[row] == sql::null_data;
    return is_null ? column.stand_in : column.elements[row];
}

#if defined(__SSE2__)

// Of each bit, that of `stand_in` where the mask is set.
inline __m128i choose(__m128i mask, __m128i stand_in, __m128i values) {
    return _mm_or_si128(_mm_and_si128(mask, stand_in), _mm_andnot_si128(mask, values));
}

// As many elements of a column as a register holds, with what stands in for NULL.
template <class Element>
__m128i load(const Run<Element>& column, std::size_t row) {
    const auto values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(column.elements + row));
    if (column.indicators == nullptr) return values;
    const auto* indicators = reinterpret_cast<const __m128i*>(column.indicators + row);
    const auto null = _mm_set1_epi32(sql::null_data);
    if constexpr (sizeof(Element) == sizeof(std::int32_t)) {
        std::int32_t bits = 0;
        std::memcpy(&bits, &column.stand_in, sizeof bits);
        return choose(_mm_cmpeq_epi32(_mm_loadu_si128(indicators), null), _mm_set1_epi32(bits), values);
    } else {
        std::int64_t bits = 0;
        std::memcpy(&bits, &column.stand_in, sizeof bits);
        const auto mask = _mm_cmpeq_epi32(_mm_loadl_epi64(indicators), null);
        return choose(_mm_unpacklo_epi32(mask, mask), _mm_set1_epi64x(bits), values);
    }
}

#endif

// target[row * stride + column] = columns[column][row], for four columns. The columns need no alignment.
template <class Element>
void transpose(const std::array<Run<Element>, columns_together>& columns, std::size_t rows, Element* target,
               std::size_t stride) {
    std::size_t row = 0;
#if defined(__SSE2__)
    // Plain copies take two to three times as long: 20 to 30 ms for a million rows of 28 floats, where reading the
    // memory alone takes 9 ms.
    if constexpr (sizeof(Element) == sizeof(float)) {
        const auto values = [&](std::size_t column) { return _mm_castsi128_ps(load(columns[column], row)); };
        for (; row + columns_together <= rows; row += columns_together) {
            fetch_ahead(columns, row);
            const __m128 column0 = values(0);
            const __m128 column1 = values(1);
            const __m128 column2 = values(2);
            const __m128 column3 = values(3);
            const __m128 low01 = _mm_unpacklo_ps(column0, column1);
            const __m128 low23 = _mm_unpacklo_ps(column2, column3);
            const __m128 high01 = _mm_unpackhi_ps(column0, column1);
            const __m128 high23 = _mm_unpackhi_ps(column2, column3);
            auto* out = reinterpret_cast<float*>(target + row * stride);
            _mm_storeu_ps(out, _mm_movelh_ps(low01, low23));
            _mm_storeu_ps(out + stride, _mm_movehl_ps(low23, low01));
            _mm_storeu_ps(out + 2 * stride, _mm_movelh_ps(high01, high23));
            _mm_storeu_ps(out + 3 * stride, _mm_movehl_ps(high23, high01));
        }
    } else if constexpr (sizeof(Element) == sizeof(double)) {
        const auto values = [&](std::size_t column) { return _mm_castsi128_pd(load(columns[column], row)); };
        for (; row + 2 <= rows; row += 2) {
            fetch_ahead(columns, row);
            const __m128d column0 = values(0);
            const __m128d column1 = values(1);
            const __m128d column2 = values(2);
            const __m128d column3 = values(3);
            auto* out = reinterpret_cast<double*>(target + row * stride);
            _mm_storeu_pd(out, _mm_unpacklo_pd(column0, column1));
            _mm_storeu_pd(out + 2, _mm_unpacklo_pd(column2, column3));
            _mm_storeu_pd(out + stride, _mm_unpackhi_pd(column0, column1));
            _mm_storeu_pd(out + stride + 2, _mm_unpackhi_pd(column2, column3));
        }
    }
#endif
    for (; row < rows; ++row) {
        for (std::size_t column = 0; column < columns_together; ++column) {
            target[row * stride + column] = element_at(columns[column], row);
        }
    }
}

}  // namespace onnx_sql
