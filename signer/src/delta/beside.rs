//! Work on two threads. What comes of it does not depend on the number of processors.

use std::{
    panic,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Does both at once.
pub(super) fn both<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        (first.join().unwrap_or_else(|why| panic::resume_unwind(why)), second)
    })
}

/// Does `count` pieces of work, two at a time, the next one as soon as a thread is free. Results are in order.
pub(super) fn each<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let places = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&place| place < count));
        places.map(|place| (place, work(place))).collect::<Vec<_>>()
    };
    let (mut done, rest) = both(worker, worker);
    done.extend(rest);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}
