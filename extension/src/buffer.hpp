// Memory that is written before it is read, so nothing is spent on clearing it.
#pragma once

#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace onnx_sql {

template <class T>
struct Uninitialized : std::allocator<T> {
    template <class Other>
    struct rebind {  // NOLINT(readability-identifier-naming): the standard's name
        using other = Uninitialized<Other>;
    };

    template <class Element>
    void construct(Element* place) {
        ::new (static_cast<void*>(place)) Element;
    }
    template <class Element, class... Arguments>
    void construct(Element* place, Arguments&&... arguments) {
        ::new (static_cast<void*>(place)) Element(std::forward<Arguments>(arguments)...);
    }
};

template <class T>
using Buffer = std::vector<T, Uninitialized<T>>;

}  // namespace onnx_sql
