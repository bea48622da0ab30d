//! Named points at which a simulation may make trouble: wait, let others go first, fail, or lose its power right there.
//!
//! They stand where the order of things matters and where no fault of a disk or a link would strike by itself. Without the
//! feature `buggify`, which only the simulators turn on, they are compiled to nothing: not even the names are left. A name is
//! `buggify/` and what has just happened. `tests/buggify.rs` sees to it that there is no other way to one.

/// A point that may be passed late, or never.
#[cfg(feature = "buggify")]
macro_rules! stumble {
    ($runtime:ty, $point:literal) => {
        <$runtime as $crate::runtime::Runtime>::stumble($point).await
    };
}
#[cfg(not(feature = "buggify"))]
macro_rules! stumble {
    ($runtime:ty, $point:literal) => {};
}

/// A point at which what may fail may be told to.
#[cfg(feature = "buggify")]
macro_rules! fails {
    ($runtime:ty, $point:literal) => {
        <$runtime as $crate::runtime::Runtime>::fails($point)
    };
}
#[cfg(not(feature = "buggify"))]
macro_rules! fails {
    ($runtime:ty, $point:literal) => {
        false
    };
}

pub(crate) use {fails, stumble};

/// What is shipped does not compile unless the points are nothing there: the runtime does not exist, and this is no `async`
/// function.
#[cfg(not(feature = "buggify"))]
const _: () = {
    stumble!(NoSuchRuntime, "buggify/nothing.there");
    assert!(!fails!(NoSuchRuntime, "buggify/nothing.there"));
};
