#include "hpcpdf/parallel.hpp"

#include <pthread.h>

#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace hpcpdf {
namespace {

// What is left at the end is short as a rule: for so long it is quicker to wait awake than to fall asleep and wake up.
constexpr auto kWaitAwake = std::chrono::microseconds(50);

// While this lives, threads are born deaf to signals that are sent to the process: those are for its other threads, who
// may have put them off. Faults of a thread itself still reach it.
class Deaf {
 public:
  Deaf() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  ~Deaf() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  Deaf(const Deaf&) = delete;
  Deaf& operator=(const Deaf&) = delete;

 private:
  sigset_t before_;
};

// A thread that sleeps until it is called.
class Helper {
 public:
  Helper() {
    const Deaf deaf;
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
    const auto end = std::chrono::steady_clock::now() + kWaitAwake;
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

Pool* pool = new Pool;

// A forked process has the memory of its parent, but none of these threads.
[[maybe_unused]] const int renewed = pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });

}  // namespace

void on_threads(std::size_t n, const std::function<void(std::size_t)>& work) {
  if (n <= 1) {
    if (n == 1) work(0);
    return;
  }
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
  // Rounding and underflow are to be the same in all of them.
  std::fenv_t arithmetic;
  std::fegetenv(&arithmetic);
  std::atomic<std::size_t> index{1};
  const std::function<void()> next = [&] {
    std::fesetenv(&arithmetic);
    guarded(index++);
  };
  const std::vector<Helper*> helpers = pool->take(n - 1);
  for (Helper* helper : helpers) helper->call(next);
  guarded(0);
  for (Helper* helper : helpers) helper->finish();
  pool->give_back(helpers);
  if (error) std::rethrow_exception(error);
}

}  // namespace hpcpdf
