#pragma once

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "schema/base/time.h"
#include "schema/base/uuid.h"

/// Between C++ values and columns. Only for the .cc files of stores: it brings SQLite's headers.
namespace vms {

/// Binds parameters 1, 2, ... of a statement in the order of the calls and runs it.
///
/// Strings and ids are not copied: they must live until run() returns, so temporaries are refused.
class Binder {
 public:
  explicit Binder(SQLite::Statement& statement) : statement_(statement) { statement_.tryReset(); }

  Binder& operator<<(const std::string& text) {
    statement_.bindNoCopy(next_++, text);
    return *this;
  }
  Binder& operator<<(std::string&&) = delete;
  /// Names of enumerators; copied.
  Binder& operator<<(std::string_view name) {
    statement_.bind(next_++, std::string(name));
    return *this;
  }
  Binder& operator<<(const char*) = delete;
  Binder& operator<<(const Uuid& uuid) {
    statement_.bindNoCopy(next_++, uuid.bytes.data(), static_cast<int>(uuid.bytes.size()));
    return *this;
  }
  Binder& operator<<(Uuid&&) = delete;
  Binder& operator<<(WallTime time) {
    statement_.bind(next_++, time.unix_ms);
    return *this;
  }
  template <std::integral T>
  Binder& operator<<(T number) {
    statement_.bind(next_++, static_cast<std::int64_t>(number));
    return *this;
  }
  template <class T>
  Binder& operator<<(const std::optional<T>& value) {
    if (value) return *this << *value;
    statement_.bind(next_++);
    return *this;
  }

  /// Runs a statement without results; the rows that it changed.
  int run() {
    const int changed = statement_.exec();
    statement_.reset();
    return changed;
  }
  /// The next row of a statement with results; resets it when there is none.
  bool step() {
    if (statement_.executeStep()) return true;
    statement_.reset();
    return false;
  }

 private:
  SQLite::Statement& statement_;
  int next_ = 1;
};

/// Reads the columns of the current row in the order of the calls. What has not the shape of its
/// type is damage and thrown as SQLITE_CORRUPT.
class RowReader {
 public:
  explicit RowReader(SQLite::Statement& statement) : statement_(statement) {}

  RowReader& operator>>(std::string& text) {
    text = statement_.getColumn(next_++).getString();
    return *this;
  }
  RowReader& operator>>(Uuid& uuid) {
    const SQLite::Column column = statement_.getColumn(next_++);
    const char* const bytes = static_cast<const char*>(column.getBlob());
    const auto size = static_cast<std::size_t>(column.getBytes());
    const auto parsed = Uuid::fromBytes(std::string_view(bytes == nullptr ? "" : bytes, size));
    if (!parsed) throw corrupt("an id of " + std::to_string(size) + " bytes");
    uuid = *parsed;
    return *this;
  }
  RowReader& operator>>(WallTime& time) {
    time.unix_ms = statement_.getColumn(next_++).getInt64();
    return *this;
  }
  template <std::integral T>
  RowReader& operator>>(T& number) {
    const std::int64_t value = statement_.getColumn(next_++).getInt64();
    if constexpr (std::same_as<T, bool>) {
      number = value != 0;
    } else {
      if constexpr (sizeof(T) < sizeof(std::int64_t)) {
        if (!std::in_range<T>(value)) throw corrupt("a number out of range");
      }
      number = static_cast<T>(value);
    }
    return *this;
  }
  template <class T>
  RowReader& operator>>(std::optional<T>& value) {
    if (statement_.isColumnNull(next_)) {
      value.reset();
      ++next_;
      return *this;
    }
    return *this >> value.emplace();
  }

  /// A name that `parse` knows.
  template <class T>
  void name(T& value, std::optional<T> (*parse)(std::string_view) noexcept) {
    const std::string text = statement_.getColumn(next_++).getString();
    const std::optional<T> parsed = parse(text);
    if (!parsed) throw corrupt("unknown name '" + text + "'");
    value = *parsed;
  }
  template <class T>
  void name(std::optional<T>& value, std::optional<T> (*parse)(std::string_view) noexcept) {
    if (statement_.isColumnNull(next_)) {
      value.reset();
      ++next_;
      return;
    }
    name(value.emplace(), parse);
  }
  void skip() { ++next_; }

  SQLite::Exception corrupt(const std::string& what) const {
    return {"column " + std::to_string(next_) + " of \"" + statement_.getQuery() + "\": " + what,
            SQLITE_CORRUPT};
  }

 private:
  SQLite::Statement& statement_;
  int next_ = 0;
};

}  // namespace vms
