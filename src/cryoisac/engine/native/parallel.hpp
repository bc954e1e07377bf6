// Work shared among threads: each takes the next unit until none is left.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

namespace cryoisac {

// Memory that SIMD vectors may lie in.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) : at_(::operator new(bytes + 64, std::align_val_t{64})) {}
  ~Scratch() { ::operator delete(at_, std::align_val_t{64}); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* at() const { return at_; }

 private:
  void* at_;
};

// Calls work(unit, scratch) for units 0 ... count - 1, each once, with scratch of the thread that takes it.
template <class Work>
void share(std::int64_t count, int threads, std::size_t scratch_bytes, Work work) {
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  const auto run = [&] {
    try {
      Scratch scratch(scratch_bytes);
      for (std::int64_t unit; (unit = next.fetch_add(1)) < count;) work(unit, scratch.at());
    } catch (...) {
      const std::lock_guard<std::mutex> lock(guard);
      if (!failure) failure = std::current_exception();
      next = count;
    }
  };
  std::vector<std::thread> others;
  const std::int64_t wanted = std::min<std::int64_t>(std::max(threads, 1), count);
  for (std::int64_t i = 1; i < wanted; ++i) others.emplace_back(run);
  run();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace cryoisac
