// Drives the extension without Python around it, so that a sanitizer sees nothing but the extension and ONNX Runtime.
//
//   driver <library> <model of one float matrix of 4 columns> <sessions> <threads>
//
// Every thread opens its share of the sessions, several at a time, scores chunks, makes mistakes on purpose, and cleans up
// in another order than it opened. Ends with 0 where every answer was as expected.
#include <dlfcn.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Guid {
  std::uint32_t data1;
  std::uint16_t data2;
  std::uint16_t data3;
  std::uint8_t data4[8];
};

using Text = unsigned char*;

struct Api {
  std::int16_t (*init)(Text, std::uint64_t, Text, std::uint64_t, Text, std::uint64_t, Text, std::uint64_t);
  std::int16_t (*init_session)(Guid, std::uint16_t, std::uint16_t, Text, std::uint64_t, std::uint16_t, std::uint16_t, Text,
                               std::uint16_t, Text, std::uint16_t);
  std::int16_t (*init_column)(Guid, std::uint16_t, std::uint16_t, Text, std::int16_t, std::int16_t, std::uint64_t,
                              std::int16_t, std::int16_t, std::int16_t, std::int16_t);
  std::int16_t (*init_param)(Guid, std::uint16_t, std::uint16_t, Text, std::int16_t, std::int16_t, std::uint64_t, std::int16_t,
                             void*, std::int32_t, std::int16_t);
  std::int16_t (*execute)(Guid, std::uint16_t, std::uint64_t, void**, std::int32_t**, std::uint16_t*);
  std::int16_t (*results)(Guid, std::uint16_t, std::uint64_t*, void***, std::int32_t***);
  std::int16_t (*cleanup_session)(Guid, std::uint16_t);
  std::int16_t (*cleanup)();
};

template <typename Function>
void find(void* library, const char* name, Function& function) {
  void* found = dlsym(library, name);
  if (found == nullptr) {
    std::fprintf(stderr, "no %s\n", name);
    std::exit(2);
  }
  std::memcpy(&function, &found, sizeof found);
}

Text text(std::string& value) { return reinterpret_cast<Text>(value.data()); }

constexpr int kColumns = 4;
constexpr std::int16_t kFloat = 7, kBigint = -25, kBinary = -2;

class Sessions {
 public:
  Sessions(const Api& api, std::string model, std::uint32_t first) : api_(api), model_(std::move(model)), next_(first) {}

  void round() {
    // Opened in one order, cleaned in another.
    const Guid a = open(""), b = open("keys = key\nbatch = 7");
    score(b, 2, 20);
    score(a, 1, 3);
    score(a, 1, 0);
    fail();
    check(api_.cleanup_session(a, 0) == 0, "cleaning");
    score(b, 2, 5);
    check(api_.cleanup_session(b, 0) == 0, "cleaning");
  }

  bool good() const { return good_; }

 private:
  void check(bool condition, const char* what) {
    if (!condition) {
      good_ = false;
      std::fprintf(stderr, "unexpected: %s\n", what);
    }
  }

  Guid fresh() { return Guid{next_++, 0, 0, {0}}; }

  Guid open(const char* options) {
    const Guid id = fresh();
    std::string script = options, in = "in", out = "out", key = "key", parameter = "@model";
    const bool keyed = *options != '\0';
    check(api_.init_session(id, 0, 1, text(script), script.size(), kColumns + (keyed ? 1 : 0), 1, text(in), 2, text(out), 3) == 0,
          "InitSession");
    check(api_.init_session(id, 0, 1, text(script), script.size(), kColumns, 1, text(in), 2, text(out), 3) != 0, "twice");
    for (int column = 0; column < kColumns; ++column) {
      std::string name(1, static_cast<char>('a' + column));
      check(api_.init_column(id, 0, static_cast<std::uint16_t>(column), text(name), 1, kFloat, 4, 0, 1, -1, -1) == 0, "InitColumn");
    }
    if (keyed) check(api_.init_column(id, 0, kColumns, text(key), 3, kBigint, 8, 0, 0, -1, -1) == 0, "InitColumn of the key");
    check(api_.init_param(id, 0, 0, text(parameter), 6, kBinary, model_.size(), 0, model_.data(),
                          static_cast<std::int32_t>(model_.size()), 1) == 0,
          "InitParam");
    return id;
  }

  void score(const Guid& id, std::uint16_t wanted, std::uint64_t rows) {
    std::vector<std::vector<float>> columns(kColumns, std::vector<float>(rows, 0.5F));
    std::vector<std::int64_t> keys(rows, 42);
    std::vector<std::int32_t> lengths(rows, 4);
    if (rows > 1) lengths[1] = -1;
    std::vector<void*> data;
    std::vector<std::int32_t*> indicators;
    for (auto& column : columns) {
      data.push_back(column.data());
      indicators.push_back(lengths.data());
    }
    data.push_back(keys.data());
    indicators.push_back(nullptr);
    std::uint16_t produced = 0;
    check(api_.execute(id, 0, rows, data.data(), indicators.data(), &produced) == 0, "Execute");
    check(produced == wanted, "the number of result columns");
    std::uint64_t found = 0;
    void** values = nullptr;
    std::int32_t** lines = nullptr;
    check(api_.results(id, 0, &found, &values, &lines) == 0, "GetResults");
    check(found == rows, "the number of rows");
    if (rows == 0 || values == nullptr || produced == 0) return;
    const auto* score = static_cast<const float*>(values[produced - 1]);
    check(score[0] == 5.0F, "the score");  // (1 + 2 + 3 + 4) * 0.5
    if (rows > 1) check(lines[produced - 1][1] == -1, "NULL for NULL");
  }

  void fail() {
    const Guid id = fresh();
    std::string script = "nonsense", empty;
    std::uint16_t produced = 0;
    check(api_.execute(id, 0, 1, nullptr, nullptr, &produced) != 0, "Execute without a session");
    // Where a bad option is noticed is the library's business; that cleaning up succeeds is not.
    api_.init_session(id, 0, 1, text(script), script.size(), 1, 1, text(empty), 0, text(empty), 0);
    api_.execute(id, 0, 1, nullptr, nullptr, &produced);
    check(api_.cleanup_session(id, 0) == 0, "cleaning what never was");
  }

  const Api& api_;
  std::string model_;
  std::uint32_t next_;
  bool good_ = true;
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 5) return 2;
  void* library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  Api api{};
  find(library, "Init", api.init);
  find(library, "InitSession", api.init_session);
  find(library, "InitColumn", api.init_column);
  find(library, "InitParam", api.init_param);
  find(library, "Execute", api.execute);
  find(library, "GetResults", api.results);
  find(library, "CleanupSession", api.cleanup_session);
  find(library, "Cleanup", api.cleanup);
  if (api.init(nullptr, 0, nullptr, 0, nullptr, 0, nullptr, 0) != 0) return 1;
  std::ifstream file(arguments[2], std::ios::binary);
  const std::string model((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const int sessions = std::atoi(arguments[3]), threads = std::atoi(arguments[4]);
  std::atomic<bool> good{true};
  std::vector<std::thread> crew;
  for (int thread = 0; thread < threads; ++thread) {
    crew.emplace_back([&, thread] {
      Sessions mine(api, model, static_cast<std::uint32_t>(thread) << 24U);
      for (int round = 0; round < sessions / threads / 2; ++round) mine.round();
      if (!mine.good()) good = false;
    });
  }
  for (auto& member : crew) member.join();
  if (api.cleanup() != 0) return 1;
  return good ? 0 : 1;
}
