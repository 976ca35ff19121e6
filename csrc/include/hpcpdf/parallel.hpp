// Independent tasks over threads. Which thread runs a task never decides a result.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>

namespace hpcpdf {

// Calls work(0) on this thread and meanwhile work(1), work(2), ... on up to n - 1 others: fewer where the system
// refuses a thread or where work(0) returns before they have begun, so that work(0) alone must be able to do
// everything. The first exception is rethrown here after all calls have ended. The others sleep from one use to the
// next, for the life of the process, on the processors that were allowed when they were first needed.
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
