#include "hpcpdf/parallel.hpp"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace hpcpdf {
namespace {

// A thread that sleeps until it is called.
class Helper {
 public:
  Helper() {
    std::thread([this] { live(); }).detach();
  }

  void call(const std::function<void()>& work) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      work_ = &work;
      state_ = State::called;
    }
    changed_.notify_one();
  }

  // Returns when the call has ended; one that has not begun is taken back.
  void finish() {
    auto called = State::called;
    if (state_.compare_exchange_strong(called, State::asleep)) return;
    // What is left is short as a rule: shorter than to fall asleep and to wake up.
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
    while (state_ == State::working && std::chrono::steady_clock::now() < end) continue;
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return state_ == State::asleep; });
  }

 private:
  enum class State { asleep, called, working };

  [[noreturn]] void live() {
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return state_ == State::called; });
      }
      auto called = State::called;
      if (!state_.compare_exchange_strong(called, State::working)) continue;
      (*work_)();
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        state_ = State::asleep;
      }
      changed_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* work_ = nullptr;
  std::atomic<State> state_{State::asleep};
};

// Helpers that nobody uses now. They live as long as the process: it may end while they sleep.
class Pool {
 public:
  // At most n of them.
  std::vector<Helper*> take(std::size_t n) {
    const std::lock_guard<std::mutex> lock(mutex_);
    try {
      while (idle_.size() < n) idle_.push_back(new Helper);
    } catch (const std::system_error&) {
      n = idle_.size();
    }
    const std::vector<Helper*> taken(idle_.end() - static_cast<std::ptrdiff_t>(n), idle_.end());
    idle_.resize(idle_.size() - n);
    return taken;
  }

  void give_back(const std::vector<Helper*>& helpers) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.insert(idle_.end(), helpers.begin(), helpers.end());
  }

 private:
  std::mutex mutex_;
  std::vector<Helper*> idle_;
};

Pool* pool = nullptr;

// A forked process has the memory of its parent, but none of these threads.
void renew_pool() { pool = new Pool; }

Pool& the_pool() {
  static const int once = [] {
    renew_pool();
    return pthread_atfork(nullptr, nullptr, renew_pool);
  }();
  static_cast<void>(once);
  return *pool;
}

}  // namespace

void on_threads(std::size_t n, const std::function<void(std::size_t)>& work) {
  std::mutex mutex;
  std::exception_ptr error;
  const auto guarded = [&](std::size_t index) {
    try {
      work(index);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
    }
  };
  if (n <= 1) {
    if (n == 1) work(0);
    return;
  }
  std::atomic<std::size_t> index{1};
  const std::function<void()> next = [&] { guarded(index++); };
  const std::vector<Helper*> helpers = the_pool().take(n - 1);
  for (Helper* helper : helpers) helper->call(next);
  guarded(0);
  for (Helper* helper : helpers) helper->finish();
  the_pool().give_back(helpers);
  if (error) std::rethrow_exception(error);
}

}  // namespace hpcpdf
