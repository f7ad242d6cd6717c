//! Graphs that were captured.

use std::{
    ffi::{c_ulonglong, c_void},
    sync::Arc,
};

use super::{
    Out, exported,
    stream::{given, stream},
};
use crate::{
    code::Code,
    counters::Counter,
    graph::{EXECUTABLE_BYTE_SIZE, Graph},
    memory,
    operation::Operation,
    state::state,
    table::Handle,
};

exported! {
    fn cuGraphInstantiateWithFlags(executable: Out<Handle>, graph: Handle, _flags: c_ulonglong) {
        let graph = state().graphs.find(graph)?;
        let device = state().device(graph.device)?;
        device.check()?;
        device.charge(EXECUTABLE_BYTE_SIZE)?;
        device.add(Counter::Graphs, 1);
        executable.set(state().graphs.insert(Graph {
            device: graph.device,
            operations: Arc::clone(&graph.operations),
            charged_byte_size: memory::charge(EXECUTABLE_BYTE_SIZE),
        }))
    }

    fn cuGraphGetNodes(graph: Handle, _nodes: *mut c_void, count: Out<usize>) {
        count.set(state().graphs.find(graph)?.operations.len())
    }

    fn cuGraphUpload(executable: Handle, queue: Handle) {
        stream(queue)?;
        state().graphs.find(executable).map(drop)
    }

    fn cuGraphLaunch(executable: Handle, queue: Handle) {
        let graph = state().graphs.find(executable)?;
        given(queue)?.push(Operation::Graph(Arc::clone(&graph.operations)))
    }

    fn cuGraphDestroy(graph: Handle) {
        destroy(graph)
    }

    fn cuGraphExecDestroy(executable: Handle) {
        destroy(executable)
    }
}

fn destroy(graph: Handle) -> Result<(), Code> {
    let graph = state().graphs.remove(graph)?;
    let device = state().device(graph.device)?;
    device.subtract(Counter::Graphs, 1);
    device.subtract(Counter::UsedBytes, graph.charged_byte_size);
    Ok(())
}
