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

// Calls task(worker, 0) ... task(worker, n_tasks - 1), each once, on at most n_threads threads (values below 1 count as
// 1); `worker` is what make_worker() gave that thread, if there was work for it. The first exception is rethrown here
// after all threads have stopped.
template <class MakeWorker, class Task>
void parallel_for(std::size_t n_tasks, int n_threads, const MakeWorker& make_worker, const Task& task) {
  std::atomic<std::size_t> next{0};
  on_threads(std::min<std::size_t>(n_tasks, std::max(n_threads, 1)), [&](std::size_t) {
    std::size_t i = next++;
    if (i >= n_tasks) return;
    try {
      auto worker = make_worker();
      for (; i < n_tasks; i = next++) task(worker, i);
    } catch (...) {
      next = n_tasks;
      throw;
    }
  });
}

// The same for tasks that need no worker.
template <class Task>
void parallel_for(std::size_t n_tasks, int n_threads, const Task& task) {
  parallel_for(n_tasks, n_threads, [] { return 0; }, [&](int, std::size_t i) { task(i); });
}

}  // namespace hpcpdf
