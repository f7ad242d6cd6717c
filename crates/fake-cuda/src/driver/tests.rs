//! The functions as C would call them. Tests run at the same time in one process, so each that breaks
//! a device has one of its own.

use std::{
    ffi::{c_int, c_void},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{
    Out, Text, context::*, copy::*, cuInit, device::*, event::*, graph::*, memory::*, module::*,
    stream::*,
};
use crate::{code::Code, counters::Counter, nvml, state::state, table::Handle};

/// Calls, and fails unless the driver says that it went well.
macro_rules! ok {
    ($call:expr) => {
        assert_eq!(code!($call), 0, stringify!($call))
    };
}

/// Calls, and yields what the driver says.
macro_rules! code {
    ($call:expr) => {
        // SAFETY: every pointer that the tests pass is to a value that outlives the call, or that
        // the driver was given for good.
        unsafe { $call }
    };
}

fn out<T>(place: &mut T) -> Out<T> {
    Out(place)
}

/// Makes the context of a device current on this thread.
fn enter(device: c_int) {
    let mut context = 0;
    ok!(cuInit(0));
    ok!(cuDevicePrimaryCtxRetain(out(&mut context), device));
    ok!(cuCtxSetCurrent(context));
}

fn new_stream() -> Handle {
    let mut handle = 0;
    ok!(cuStreamCreate(out(&mut handle), 1));
    handle
}

fn new_event() -> Handle {
    let mut handle = 0;
    ok!(cuEventCreate(out(&mut handle), 0));
    handle
}

fn allocate(byte_size: usize) -> u64 {
    let mut address = 0;
    ok!(cuMemAlloc_v2(out(&mut address), byte_size));
    address
}

fn pinned(byte_size: usize) -> u64 {
    let mut address = 0;
    ok!(cuMemHostAlloc(out(&mut address), byte_size, 0));
    address
}

fn read(address: u64, byte_size: usize) -> Vec<u8> {
    let mut bytes = vec![0; byte_size];
    ok!(cuMemcpyDtoH_v2(
        bytes.as_mut_ptr() as u64,
        address,
        byte_size
    ));
    bytes
}

/// Holds a stream up until it is opened.
struct Gate(&'static AtomicBool);

impl Gate {
    fn close(queue: Handle) -> Self {
        extern "C" fn wait(flag: *mut c_void) {
            // SAFETY: it is the leaked flag below.
            let flag = unsafe { &*flag.cast::<AtomicBool>() };
            while !flag.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        }
        let flag: &'static AtomicBool = Box::leak(Box::default());
        let argument = ptr::from_ref(flag).cast_mut().cast();
        ok!(cuLaunchHostFunc(queue, Some(wait), argument));
        Self(flag)
    }

    fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn streams_run_at_once_and_events_order_them() {
    enter(0);
    let (first, second, done) = (new_stream(), new_stream(), new_event());
    let (a, b) = (allocate(4), allocate(4));
    let gate = Gate::close(first);
    ok!(cuMemsetD8Async(a, 7, 4, first));
    ok!(cuEventRecord(done, first));
    ok!(cuStreamWaitEvent(second, done, 0));
    ok!(cuMemcpyDtoDAsync_v2(b, a, 4, second));
    assert_eq!(code!(cuEventQuery(done)), Code::NOT_READY.0);
    assert_eq!(code!(cuStreamQuery(second)), Code::NOT_READY.0);
    gate.open();
    ok!(cuStreamSynchronize(second));
    ok!(cuEventQuery(done));
    assert_eq!(read(b, 4), [7; 4]);
}

#[test]
fn an_event_that_is_recorded_again_elsewhere_changes_nothing_for_who_waits_already() {
    enter(0);
    let (slow, quick, waiting, event) = (new_stream(), new_stream(), new_stream(), new_event());
    let (a, b) = (allocate(4), allocate(4));
    let gate = Gate::close(slow);
    ok!(cuMemsetD8Async(a, 7, 4, slow));
    ok!(cuEventRecord(event, slow));
    ok!(cuStreamWaitEvent(waiting, event, 0));
    ok!(cuMemcpyDtoDAsync_v2(b, a, 4, waiting));
    ok!(cuEventRecord(event, quick));
    ok!(cuEventSynchronize(event));
    assert_eq!(code!(cuStreamQuery(waiting)), Code::NOT_READY.0);
    gate.open();
    ok!(cuStreamSynchronize(waiting));
    assert_eq!(read(b, 4), [7; 4]);
}

#[test]
fn pageable_memory_is_read_at_once_and_pinned_memory_later() {
    enter(1);
    let queue = new_stream();
    let (a, b, page_locked) = (allocate(1), allocate(1), pinned(1) as *mut u8);
    let mut pageable = [1_u8];
    let gate = Gate::close(queue);
    // SAFETY: the pinned byte is ours, and nothing reads it while the gate is closed.
    unsafe { page_locked.write(1) };
    let bytes = |pointer: *const u8| code!(std::mem::transmute::<*const u8, HostBytes>(pointer));
    ok!(cuMemcpyHtoDAsync_v2(a, bytes(pageable.as_ptr()), 1, queue));
    ok!(cuMemcpyHtoDAsync_v2(b, bytes(page_locked), 1, queue));
    pageable[0] = 2;
    // SAFETY: as above.
    unsafe { page_locked.write(2) };
    gate.open();
    ok!(cuStreamSynchronize(queue));
    assert_eq!((read(a, 1)[0], read(b, 1)[0]), (1, 2));
    assert_eq!(pageable, [2]);
    ok!(cuMemFreeHost(page_locked as u64));
}

#[test]
fn memory_runs_out_and_comes_back() {
    enter(2);
    let device = state().device(2).unwrap();
    let all = device.memory_byte_size as usize;
    let most = allocate(all - 4096);
    let mut more = 0;
    assert_eq!(
        code!(cuMemAlloc_v2(out(&mut more), 8192)),
        Code::OUT_OF_MEMORY.0
    );
    let (mut free, mut total) = (0, 0);
    ok!(cuMemGetInfo_v2(out(&mut free), out(&mut total)));
    assert_eq!((free, total), (4096, all));
    ok!(cuMemFree_v2(most));
    assert_eq!(device.value(Counter::UsedBytes), 0);
    assert_eq!(code!(cuMemFree_v2(most)), Code::INVALID_VALUE.0);
}

#[test]
fn an_illegal_address_kills_the_context_and_is_an_xid_event() {
    enter(3);
    let (queue, reached) = (new_stream(), new_event());
    let small = allocate(16);
    let gate = Gate::close(queue);
    ok!(cuMemsetD8Async(small, 0, 17, queue));
    ok!(cuEventRecord(reached, queue));
    gate.open();
    let died = Code::ILLEGAL_ADDRESS.0;
    assert_eq!(code!(cuStreamSynchronize(queue)), died);
    let mut address = 0;
    assert_eq!(code!(cuMemAlloc_v2(out(&mut address), 1)), died);
    assert_eq!(code!(cuEventSynchronize(reached)), died);
    assert_eq!(state().device(3).unwrap().xids.pop(), Some(31));
    enter(0); // the others live
}

#[test]
fn a_capture_over_two_streams_becomes_a_graph() {
    enter(4);
    let (origin, other, forked, joined) = (new_stream(), new_stream(), new_event(), new_event());
    let memory = allocate(2);
    let (mut graph, mut executable) = (0, 0);
    ok!(cuStreamBeginCapture_v2(origin, 0));
    ok!(cuMemsetD8Async(memory, 5, 1, origin));
    ok!(cuEventRecord(forked, origin));
    ok!(cuStreamWaitEvent(other, forked, 0));
    ok!(cuMemcpyDtoDAsync_v2(memory + 1, memory, 1, other));
    assert_eq!(
        code!(cuStreamSynchronize(origin)),
        Code::STREAM_CAPTURE_UNSUPPORTED.0
    );
    ok!(cuEventRecord(joined, other));
    ok!(cuStreamWaitEvent(origin, joined, 0));
    ok!(cuStreamEndCapture(origin, out(&mut graph)));
    assert_eq!(read(memory, 2), [0, 0]); // nothing was done yet
    ok!(cuGraphInstantiateWithFlags(out(&mut executable), graph, 0));
    ok!(cuGraphLaunch(executable, other));
    ok!(cuStreamSynchronize(other));
    assert_eq!(read(memory, 2), [5, 5]);
    ok!(cuGraphDestroy(graph));
    ok!(cuGraphExecDestroy(executable));
    assert_eq!(state().device(4).unwrap().value(Counter::Graphs), 0);
}

#[test]
fn a_capture_that_leaves_a_stream_unjoined_is_refused() {
    enter(4);
    let (origin, other, forked) = (new_stream(), new_stream(), new_event());
    let mut graph = 0;
    ok!(cuStreamBeginCapture_v2(origin, 0));
    ok!(cuEventRecord(forked, origin));
    ok!(cuStreamWaitEvent(other, forked, 0));
    let code = code!(cuStreamEndCapture(origin, out(&mut graph)));
    assert_eq!(code, Code::STREAM_CAPTURE_UNJOINED.0);
    ok!(cuStreamSynchronize(other));
}

#[test]
fn a_kernel_is_found_by_name_and_takes_its_arguments_when_launched() {
    enter(5);
    let image = b".version 9.0\0";
    let (mut module, mut function) = (0, 0);
    let image = code!(std::mem::transmute::<*const u8, Image>(image.as_ptr()));
    ok!(cuModuleLoadData(out(&mut module), image));
    let name = |name: &std::ffi::CStr| Text(name.as_ptr());
    assert_eq!(
        code!(cuModuleGetFunction(
            out(&mut function),
            module,
            name(c"nothing")
        )),
        Code::NOT_FOUND.0
    );
    ok!(cuModuleGetFunction(
        out(&mut function),
        module,
        name(c"fill_u32")
    ));
    let (destination, mut value, count) = (allocate(8), 9_u32, 2_u32);
    let arguments: [*const c_void; 3] = [
        ptr::from_ref(&destination).cast(),
        ptr::from_ref(&value).cast(),
        ptr::from_ref(&count).cast(),
    ];
    let queue = new_stream();
    let gate = Gate::close(queue);
    let (none, arguments) = (ptr::null_mut(), arguments.as_ptr());
    ok!(cuLaunchKernel(
        function, 1, 1, 1, 32, 1, 1, 0, queue, arguments, none
    ));
    value += 1;
    gate.open();
    ok!(cuStreamSynchronize(queue));
    assert_eq!(
        (read(destination, 8), value),
        (vec![9, 0, 0, 0, 9, 0, 0, 0], 10)
    );
    ok!(cuModuleUnload(module));
    let code = code!(cuLaunchKernel(
        function, 1, 1, 1, 32, 1, 1, 0, queue, arguments, none
    ));
    assert_eq!(code, Code::INVALID_HANDLE.0);
}

#[test]
fn a_destroyed_handle_is_an_error_and_its_work_is_still_done() {
    enter(6);
    let (queue, memory) = (new_stream(), allocate(1));
    let gate = Gate::close(queue);
    ok!(cuMemsetD8Async(memory, 3, 1, queue));
    let done = new_event();
    ok!(cuEventRecord(done, queue));
    ok!(cuStreamDestroy_v2(queue));
    assert_eq!(code!(cuStreamSynchronize(queue)), Code::INVALID_HANDLE.0);
    gate.open();
    ok!(cuEventSynchronize(done));
    assert_eq!(read(memory, 1), [3]);
}

#[test]
fn driver_and_nvml_name_the_same_fake_device() {
    let mut name = [0; 32];
    ok!(cuDeviceGetName(Out(name.as_mut_ptr()), 32, 1));
    let mut from_nvml = [0; 32];
    ok!(nvml::nvmlDeviceGetName(2, Out(from_nvml.as_mut_ptr()), 32));
    assert_eq!(name, from_nvml);
    let text: String = name
        .iter()
        .take_while(|&&c| c != 0)
        .map(|&c| c as u8 as char)
        .collect();
    assert_eq!(text, "Fake GPU 1");
}
