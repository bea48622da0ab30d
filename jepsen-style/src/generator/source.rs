//! Where invocations come from.

use super::{Ask, Context, Generator, Next};
use crate::history::{Process, Value};

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Clients,
    Nemesis,
}

impl Asker {
    fn free(self, context: &Context<'_>) -> Option<Process> {
        match self {
            Self::Clients => context.client(),
            Self::Nemesis => context
                .free
                .iter()
                .copied()
                .find(|process| *process == Process::Nemesis),
        }
    }
}

/// Asks of a list, one after the other.
#[derive(Debug, Clone)]
pub struct Each {
    asks: std::vec::IntoIter<Ask>,
    asker: Asker,
}

/// Every ask of `asks` once, in order, by whichever client is free.
pub fn each(asks: impl IntoIterator<Item = Ask>) -> Each {
    Each {
        asks: asks.into_iter().collect::<Vec<_>>().into_iter(),
        asker: Asker::Clients,
    }
}

impl Each {
    /// The same asks by the nemesis.
    #[must_use]
    pub fn by_nemesis(self) -> Self {
        Self {
            asker: Asker::Nemesis,
            ..self
        }
    }
}

impl Generator for Each {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        if self.asks.len() == 0 {
            return Next::Done;
        }
        let Some(process) = self.asker.free(context) else {
            return Next::Blocked;
        };
        self.asks
            .next()
            .map_or(Next::Done, |ask| Next::Ask(process, ask))
    }
}

/// Asks that a function makes.
pub struct FromFn<F> {
    make: F,
    asker: Asker,
}

/// The asks that `make` makes, until it makes none, by whichever client is free.
pub fn from_fn<F: FnMut(&mut Context<'_>) -> Option<Ask> + Send>(make: F) -> FromFn<F> {
    FromFn {
        make,
        asker: Asker::Clients,
    }
}

/// The same ask for ever.
pub fn forever(ask: Ask) -> impl Generator {
    from_fn(move |_| Some(ask.clone()))
}

impl<F> FromFn<F> {
    /// The same asks by the nemesis.
    #[must_use]
    pub fn by_nemesis(self) -> Self {
        Self {
            asker: Asker::Nemesis,
            ..self
        }
    }
}

impl<F: FnMut(&mut Context<'_>) -> Option<Ask> + Send> Generator for FromFn<F> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let Some(process) = self.asker.free(context) else {
            return Next::Blocked;
        };
        (self.make)(context).map_or(Next::Done, |ask| Next::Ask(process, ask))
    }
}

/// Values that never come twice: where every write differs, a read says who wrote.
#[derive(Debug, Clone, Default)]
pub struct Unique {
    last: i64,
}

impl Unique {
    /// A value that was never given before.
    pub fn value(&mut self) -> Value {
        self.last += 1;
        Value::Integer(self.last)
    }
}
