#include "sessions.hpp"

#include <array>
#include <cstring>

#include "errors.hpp"
#include "self_test.hpp"

namespace onnx_sql {

void Sessions::init(std::vector<std::filesystem::path> places) {
    const std::scoped_lock lock(mutex_);
    places_ = std::move(places);
    is_initialised_ = true;
}

void Sessions::cleanup() {
    std::map<Key, Entry> ended;
    std::shared_ptr<Runtime> runtime;
    const std::scoped_lock lock(mutex_);
    entries_.swap(ended);
    runtime_.swap(runtime);
    is_initialised_ = false;
}

// ONNX Runtime starts with the first session and not in Init, whose failure SQL Server does not show to the user. Under
// a lock of its own: it is loaded once, and sessions that are open go on meanwhile.
std::shared_ptr<Runtime> Sessions::runtime() {
    const std::scoped_lock loading(loading_);
    std::vector<std::filesystem::path> places;
    {
        const std::scoped_lock lock(mutex_);
        if (!is_initialised_) fail("a session came before Init, or after Cleanup");
        if (runtime_ != nullptr) return runtime_;
        places = places_;
    }
    auto runtime = load(places);
    const std::scoped_lock lock(mutex_);
    if (!is_initialised_) fail("a session came before Init, or after Cleanup");
    return runtime_ = std::move(runtime);
}

std::shared_ptr<Runtime> Sessions::load(const std::vector<std::filesystem::path>& places) {
    std::string tried;
    for (const auto& place : places) {
        const auto library = find_onnxruntime(place);
        if (!library.empty()) {
            auto runtime = std::make_shared<Runtime>(library);
            self_test(*runtime);
            return runtime;
        }
        if (!place.empty()) tried += (tried.empty() ? "" : ", ") + quote(place.u8string());
    }
    fail(
        "ONNX Runtime was not found; put its library beside the extension in the zip of CREATE EXTERNAL LANGUAGE. "
        "Looked in ",
        tried.empty() ? "no place" : tried);
}

Sessions::Key Sessions::key_of(const sql::Guid& id, std::uint16_t task) {
    std::array<std::uint64_t, 2> halves{};
    static_assert(sizeof halves == sizeof id);
    std::memcpy(halves.data(), &id, sizeof id);
    return {halves[0], halves[1], task};
}

void Sessions::open(const sql::Guid& id, std::uint16_t task,
                    const std::function<std::shared_ptr<Session>(const Runtime&)>& make) {
    const Key key = key_of(id, task);
    const auto refuse = [&] { fail("the session of task ", task, " is there already"); };
    {
        const std::scoped_lock lock(mutex_);
        if (entries_.count(key) > 0) refuse();
    }
    Entry entry;
    entry.runtime = runtime();
    entry.session = make(*entry.runtime);
    const std::scoped_lock lock(mutex_);
    if (!is_initialised_) fail("a session came before Init, or after Cleanup");
    if (!entries_.try_emplace(key, std::move(entry)).second) refuse();
}

void Sessions::with(const sql::Guid& id, std::uint16_t task, const std::function<void(Session&)>& use) {
    Entry entry;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = entries_.find(key_of(id, task));
        if (found == entries_.end()) fail("there is no session of task ", task, "; InitSession did not come or failed");
        entry = found->second;
    }
    const std::scoped_lock lock(*entry.mutex);
    use(*entry.session);
}

void Sessions::close(const sql::Guid& id, std::uint16_t task) {
    Entry ended;  // is destroyed after the lock is let go
    const std::scoped_lock lock(mutex_);
    const auto found = entries_.find(key_of(id, task));
    if (found == entries_.end()) return;
    ended = std::move(found->second);
    entries_.erase(found);
}

}  // namespace onnx_sql
