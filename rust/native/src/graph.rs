//! Dependency graphs.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use foldhash::fast::RandomState;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyString, PyTuple};
use tekton_kernel::graph::{self, Csr, ReadySet, Resolution};

use crate::{error, objects, walk};

type Lists<'py> = Bound<'py, PyList>;
/// Two lists.
type Pair<'py> = Bound<'py, PyTuple>;

/// See the stub.
#[pyfunction]
pub fn resolve<'py>(graph: &Bound<'py, PyMapping>) -> PyResult<Pair<'py>> {
    let (mut names, edges) = walk::read(graph)?;
    let found = graph::resolve(&edges);
    objects::pair(names.give(graph.py(), &found.order)?, names.give_groups(graph.py(), &found.cycles)?)
}

/// See the stub.
#[pyfunction]
pub fn waves<'py>(graph: &Bound<'py, PyMapping>) -> PyResult<Lists<'py>> {
    let (mut names, edges) = walk::read(graph)?;
    names.give_groups(graph.py(), &graph::waves(&edges))
}

/// A resident graph: names are converted once.
#[pyclass(frozen, module = "tekton._native")]
pub struct DependencyGraph {
    names: Vec<Py<PyString>>,
    numbers: HashMap<Box<str>, u32, RandomState>,
    graph: Csr,
    resolution: OnceLock<Resolution>,
    dependents: OnceLock<Csr>,
    ready: Mutex<ReadySet>,
}

#[pymethods]
impl DependencyGraph {
    #[new]
    fn new(graph: &Bound<'_, PyMapping>) -> PyResult<Self> {
        let py = graph.py();
        let (names, graph) = walk::read(graph)?;
        let names = names.into_vec();
        let mut numbers = HashMap::with_capacity_and_hasher(names.len(), RandomState::default());
        for (name, number) in names.iter().zip(0..) {
            numbers.entry(name.to_str(py)?.into()).or_insert(number);
        }
        let graph = graph.without_duplicates();
        let ready = Mutex::new(ReadySet::new(&graph));
        Ok(Self { names, numbers, graph, resolution: OnceLock::new(), dependents: OnceLock::new(), ready })
    }

    fn __len__(&self) -> usize {
        self.names.len()
    }

    fn resolve<'py>(&self, py: Python<'py>) -> PyResult<Pair<'py>> {
        let found = self.resolution.get_or_init(|| graph::resolve(&self.graph));
        objects::pair(self.list(py, &found.order)?, self.lists(py, &found.cycles)?)
    }

    fn waves<'py>(&self, py: Python<'py>) -> PyResult<Lists<'py>> {
        self.lists(py, &graph::waves(&self.graph))
    }

    fn dependencies<'py>(&self, py: Python<'py>, node: &str) -> PyResult<Lists<'py>> {
        self.list(py, self.graph.row(self.number(node)?))
    }

    #[pyo3(signature = (node, *, transitive = false))]
    fn dependents<'py>(&self, py: Python<'py>, node: &str, transitive: bool) -> PyResult<Lists<'py>> {
        let number = self.number(node)?;
        if transitive {
            return self.list(py, &graph::reachable(self.reversed(), number));
        }
        self.list(py, self.reversed().row(number))
    }

    fn ready<'py>(&self, py: Python<'py>) -> PyResult<Lists<'py>> {
        let nodes = self.progress().ready();
        self.list(py, &nodes)
    }

    fn done<'py>(&self, py: Python<'py>, node: &str) -> PyResult<Lists<'py>> {
        let number = self.number(node)?;
        let nodes = self.progress().done(self.reversed(), number);
        self.list(py, &nodes)
    }

    fn fail<'py>(&self, py: Python<'py>, node: &str) -> PyResult<Lists<'py>> {
        let number = self.number(node)?;
        let nodes = self.progress().fail(self.reversed(), number);
        self.list(py, &nodes)
    }

    fn critical_path<'py>(&self, durations: &Bound<'py, PyDict>) -> PyResult<Lists<'py>> {
        let mut weights = vec![0.0; self.names.len()];
        // Reading a number can run Python code, which could change the dict.
        for item in durations.as_mapping().items()? {
            let (name, duration): (String, f64) = item.extract()?;
            if !duration.is_finite() || duration < 0.0 {
                return Err(error::with_message::<PyValueError>(&format!(
                    "the duration of {name} must be finite and not negative"
                )));
            }
            if let Some(number) = self.numbers.get(&*name) {
                weights[*number as usize] = duration;
            }
        }
        self.list(durations.py(), &graph::critical_path(&self.graph, &weights))
    }
}

impl DependencyGraph {
    fn number(&self, node: &str) -> PyResult<u32> {
        self.numbers.get(node).copied().ok_or_else(|| error::with_message::<PyKeyError>(node))
    }

    fn reversed(&self) -> &Csr {
        self.dependents.get_or_init(|| self.graph.reversed())
    }

    fn progress(&self) -> MutexGuard<'_, ReadySet> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list<'py>(&self, py: Python<'py>, nodes: &[u32]) -> PyResult<Lists<'py>> {
        objects::list(py, nodes.iter().map(|node| Ok(self.names[*node as usize].bind(py).clone())))
    }

    fn lists<'py>(&self, py: Python<'py>, groups: &[Vec<u32>]) -> PyResult<Lists<'py>> {
        let lists: Vec<_> = groups.iter().map(|nodes| self.list(py, nodes)).collect::<PyResult<_>>()?;
        objects::list(py, lists.into_iter().map(Ok))
    }
}
