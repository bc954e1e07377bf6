// What the parts of the Python module share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string>

#include "kernels.hpp"
#include "plan.hpp"

namespace cryoisac {

template <class T, int Dimensions>
using Array = nanobind::ndarray<T, nanobind::ndim<Dimensions>, nanobind::c_contig, nanobind::device::cpu>;

struct Search {
  Rings rings;
  Options options;
};

// The kernels of an instruction set; throws where it is unknown or does not run here.
const Kernels* kernels_named(const std::string& name);

// Add the fast search, and the likelihood of stored rings, to the module.
void bind_fast(nanobind::module_& module);
void bind_stored(nanobind::module_& module);

// Adds sums by rings.
void bind_rings(nanobind::module_& module);

// Adds images under poses.
void bind_moving(nanobind::module_& module);

}  // namespace cryoisac
