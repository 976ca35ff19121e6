// Independent tasks over threads. Which thread runs a task never decides a result.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>

namespace hpcpdf {

// Calls work(0) on this thread and, at the same time, work(1) ... work(n - 1) on others; fewer of them where the system
// refuses another thread. The first exception is rethrown here after all calls have ended. The others are kept asleep
// from one use to the next, since to start a thread takes as long as to solve a dozen structures.
void on_threads(std::size_t n, const std::function<void(std::size_t)>& work);

// Calls task(0) ... task(n_tasks - 1), each once, on at most n_threads threads (values below 1 count as 1).
// The first exception thrown by a task is rethrown here after all threads have stopped.
template <class Task>
void parallel_for(std::size_t n_tasks, int n_threads, const Task& task) {
  std::atomic<std::size_t> next{0};
  on_threads(std::min<std::size_t>(n_tasks, std::max(n_threads, 1)), [&](std::size_t) {
    try {
      for (std::size_t i = next++; i < n_tasks; i = next++) task(i);
    } catch (...) {
      next = n_tasks;
      throw;
    }
  });
}

}  // namespace hpcpdf
