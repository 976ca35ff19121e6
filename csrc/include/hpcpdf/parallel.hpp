// Independent tasks over threads. Which thread runs a task never decides a result.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace hpcpdf {

// Calls task(0) ... task(n_tasks - 1), each once, on at most n_threads threads (values below 1 count as 1).
// The first exception thrown by a task is rethrown here after all threads have stopped.
template <class Task>
void parallel_for(std::size_t n_tasks, int n_threads, const Task& task) {
  const std::size_t workers = std::min<std::size_t>(n_tasks, n_threads < 1 ? 1 : static_cast<std::size_t>(n_threads));
  if (workers <= 1) {
    for (std::size_t i = 0; i < n_tasks; ++i) task(i);
    return;
  }
  std::atomic<std::size_t> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < n_tasks; i = next++) task(i);
    } catch (...) {
      next = n_tasks;
      const std::lock_guard<std::mutex> lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(workers - 1);
  for (std::size_t t = 1; t < workers; ++t) threads.emplace_back(work);
  work();
  for (auto& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace hpcpdf
