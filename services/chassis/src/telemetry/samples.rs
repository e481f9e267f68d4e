use std::sync::{Arc, Mutex, PoisonError};

/// What is measured at the moment when somebody asks for metrics. It lives as long as the
/// HTTP server of a host.
#[derive(Clone, Default)]
pub(crate) struct Samples(Arc<Mutex<Vec<Sample>>>);

type Sample = Box<dyn Fn() + Send>;

impl Samples {
    pub(crate) fn add(&self, sample: impl Fn() + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(sample));
    }

    /// Takes them all.
    pub(super) fn take(&self) {
        for sample in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sample();
        }
    }
}
