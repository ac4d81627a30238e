//! Makes `cfg(Py_GIL_DISABLED)` known to the crate.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
