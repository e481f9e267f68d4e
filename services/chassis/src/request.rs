//! Which request a task works on: for what is logged of it.

use std::{cell::RefCell, future::Future, sync::Arc};

use bus_schema::Site;

tokio::task_local! {
    static CURRENT: Request;
}

/// The request that a task works on, for what is logged of it.
struct Request {
    rpc: Arc<str>,
    /// Known once the request was read.
    site: RefCell<Option<Site>>,
}

/// Has what is logged within know the request.
pub(crate) fn of_request<F: Future>(
    rpc: Arc<str>,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    CURRENT.scope(Request { rpc, site: RefCell::new(None) }, work)
}

/// Notes the site that the request is for.
pub(crate) fn note_site(site: &Site) {
    // What is not caused by a request, or goes on after its answer, has none.
    CURRENT.try_with(|request| *request.site.borrow_mut() = Some(site.clone())).ok();
    tracing::Span::current().record("agora.site", site.as_str());
}

/// Gives the method and the site of the request to what logs.
pub(crate) fn with_request<R>(log: impl Fn(Option<&str>, Option<&str>) -> R) -> R {
    let within = CURRENT.try_with(|request| {
        let site = request.site.borrow();
        log(Some(&request.rpc), site.as_ref().map(Site::as_str))
    });
    within.unwrap_or_else(|_| log(None, None))
}
