#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "hpcpdf/parallel.hpp"

namespace {

void wait_until(const std::atomic<std::size_t>& here, std::size_t n) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (here < n && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

// Each thread waits for all the others, so that they must be at work at the same time.
void all_at_once(std::size_t n) {
  std::atomic<std::size_t> here{0};
  std::vector<std::atomic<int>> calls(n);
  std::atomic<bool> own{false};
  const auto caller = std::this_thread::get_id();
  hpcpdf::on_threads(n, [&](std::size_t index) {
    ++calls[index];
    if (index == 0) own = std::this_thread::get_id() == caller;
    ++here;
    wait_until(here, n);
  });
  CHECK(here == n);
  CHECK(own == (n > 0));
  for (const auto& count : calls) CHECK(count == 1);
}

// What comes out when thread `thrower` of two throws while both are at work.
std::string thrown_on(std::size_t thrower) {
  std::atomic<std::size_t> here{0}, ended{0};
  try {
    hpcpdf::on_threads(2, [&](std::size_t index) {
      ++here;
      wait_until(here, 2);
      if (index == thrower) throw std::runtime_error("thread " + std::to_string(index));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ++ended;
    });
  } catch (const std::runtime_error& error) {
    CHECK(ended == 1);
    return error.what();
  }
  return "";
}

// Threads that sleep take over how the caller rounds, and leave its signals alone.
void as_the_caller() {
  for (const int rounding : {FE_UPWARD, FE_TONEAREST}) {
    std::fesetround(rounding);
    std::atomic<std::size_t> here{0}, same{0};
    hpcpdf::on_threads(2, [&](std::size_t) {
      if (std::fegetround() == rounding) ++same;
      ++here;
      wait_until(here, 2);
    });
    CHECK(same == 2);
  }
  std::atomic<std::size_t> here{0}, deaf{0};
  hpcpdf::on_threads(2, [&](std::size_t index) {
    sigset_t blocked;
    pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
    if (sigismember(&blocked, SIGINT) == (index == 1)) ++deaf;
    ++here;
    wait_until(here, 2);
  });
  CHECK(deaf == 2);
}

// A forked process has none of its parent's threads and must make its own.
void after_fork() {
#if !defined(__SANITIZE_THREAD__)  // which does not let a forked process start threads
  const pid_t child = fork();
  if (child == 0) {
    all_at_once(3);
    _exit(check::failures);
  }
  int status = 1;
  waitpid(child, &status, 0);
  CHECK(status == 0);
#endif
}

std::string thrown_by(std::size_t thrower) {
  try {
    hpcpdf::parallel_for(100, 3, [&](std::size_t task) {
      if (task == thrower) throw std::runtime_error("task " + std::to_string(task));
    });
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

long sum_of_tasks(std::size_t n_tasks, int n_threads) {
  std::vector<int> calls(n_tasks);
  hpcpdf::parallel_for(n_tasks, n_threads, [&](std::size_t task) { ++calls[task]; });
  long sum = 0;
  for (std::size_t k = 0; k < n_tasks; ++k) sum += calls[k] == 1 ? static_cast<long>(k) : -1000000;
  return sum;
}

}  // namespace

int main() {
  for (const std::size_t n : {0, 1, 2, 3, 8, 2}) all_at_once(n);
  for (const int n_threads : {-1, 0, 1, 2, 5}) {
    CHECK(sum_of_tasks(0, n_threads) == 0);
    CHECK(sum_of_tasks(1000, n_threads) == 499500);
  }
  CHECK(thrown_on(0) == "thread 0");
  CHECK(thrown_on(1) == "thread 1");
  as_the_caller();
  after_fork();
  CHECK(thrown_by(0) == "task 0");
  CHECK(thrown_by(99) == "task 99");
  CHECK(thrown_by(100).empty());

  // Many short calls: the other thread may come too late, or be called again while it falls asleep.
  for (int round = 0; round < 20000; ++round) {
    std::atomic<int> sum{0};
    hpcpdf::parallel_for(3, 3, [&](std::size_t task) { sum += static_cast<int>(task); });
    if (sum != 3) {
      CHECK(sum == 3);
      break;
    }
  }

  // Several callers at once, and a call within a call.
  std::atomic<long> sum{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        hpcpdf::parallel_for(4, 2, [&](std::size_t) { sum += sum_of_tasks(10, 2); });
      }
    });
  }
  for (auto& caller : callers) caller.join();
  CHECK(sum == 4 * 50 * 4 * 45);
  return check::failures;
}
