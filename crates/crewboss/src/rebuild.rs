//! What follows once events were taken into a store that it did not hold.

use app::restore::Restored;
use domain::session::Session;

use crate::{context::Context, fail::Fail, heads};

/// Signed heads that speak of another log are put aside, and sessions whose runner is gone are
/// brought to their end.
pub(crate) fn after(context: &Context, restored: &Restored) -> Result<(), Fail> {
    if restored.events == 0 {
        return Ok(());
    }
    if let Some(epoch) = restored.epoch {
        heads::set_aside_those_of_another_log(context, epoch)?;
    }
    let mut live: Vec<Session> = Vec::new();
    for id in &restored.sessions {
        let session = context.session(*id)?;
        if !session.status.is_terminal() {
            live.push(session);
        }
    }
    context.recover(&live)?;
    Ok(())
}
