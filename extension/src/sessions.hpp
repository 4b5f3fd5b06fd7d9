// All that lives between Init and Cleanup: ONNX Runtime, and the sessions of all tasks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "abi/sql.hpp"
#include "runtime.hpp"
#include "session.hpp"

namespace onnx_sql {

class Sessions {
  public:
    // Where ONNX Runtime may lie, in the order in which they are tried.
    void init(std::vector<std::filesystem::path> places);
    // Ends every session and ONNX Runtime.
    void cleanup();

    // Raises Error for a session that is there already.
    void open(const sql::Guid& id, std::uint16_t task,
              const std::function<std::shared_ptr<Session>(const Runtime&)>& make);
    // Calls `use` with the session, one caller at a time. Raises Error where there is none.
    void with(const sql::Guid& id, std::uint16_t task, const std::function<void(Session&)>& use);
    // A session that is not there is closed already.
    void close(const sql::Guid& id, std::uint16_t task);

  private:
    struct Entry {
        std::shared_ptr<Runtime> runtime;  // outlives the session
        std::shared_ptr<Session> session;
        std::shared_ptr<std::mutex> mutex = std::make_shared<std::mutex>();
    };
    using Key = std::tuple<std::uint64_t, std::uint64_t, std::uint16_t>;

    static Key key_of(const sql::Guid& id, std::uint16_t task);
    std::shared_ptr<Runtime> runtime();
    static std::shared_ptr<Runtime> load(const std::vector<std::filesystem::path>& places);

    // Held while ONNX Runtime is loaded, and never waited for under the other one.
    std::mutex loading_;
    std::mutex mutex_;
    bool is_initialised_ = false;
    std::vector<std::filesystem::path> places_;
    std::shared_ptr<Runtime> runtime_;
    std::map<Key, Entry> entries_;
};

}  // namespace onnx_sql
