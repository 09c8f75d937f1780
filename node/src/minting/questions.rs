//! What others ask, at the core: what has been is answered by another, what is under way only to who has to
//! do with it, and nobody asks without end.

use super::core::{Core, Effect, Out};
use super::entry::Question;
use super::gate::speaker;
use super::serve::QUESTION_BYTES;
use dynemix_engine::messages::message::Message;
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::PeerInfo;

impl<S: Signing> Core<S> {
    /// Whether a message needs no more than it has got here: a question that another thread answers, or one that is not
    /// answered, or of who has no part in consensus.
    pub(super) fn is_answered(&mut self, from: PeerInfo, message: &Message, out: Out<'_>) -> bool {
        let pending = self.minter.pending_height();
        let duties = self.gate.duties();
        let (who, asker) = (duties.of_name(from.name), speaker(from).whom());
        let old = match message {
            Message::WantFinal(height) | Message::WantBlocks(height, _) | Message::Have { height, .. } => {
                (*height < pending).then_some(*height)
            }
            _ => None,
        };
        let asks = old.is_some()
            || matches!(message, Message::WantFinal(_) | Message::WantBodies(..) | Message::WantBlocks(..));
        if !asks {
            // Guests have no part in consensus. Whom we have called may answer.
            return !(who.named || from.called && matches!(message, Message::Final(..)));
        }
        if let Some(height) = old {
            // Who has a name and catches up asks for one block after another: one at a time, within what is handed out.
            let may = who.named || self.local.asked_by.may_ask(asker, who.rank());
            if may {
                out(Effect::Answer(from, Question::Final(from, height, self.minter.kept_final(height))));
            } else {
                self.gate.in_vain(from, QUESTION_BYTES);
            }
            return true;
        }
        let entitled = match message {
            Message::WantBlocks(..) => who.seat.is_some(),
            Message::WantBodies(block, _) => {
                let keeps = from.name.is_some_and(|name| duties.keeps(block, name));
                (keeps || who.seat.is_some()) && self.local.asked_by.may_get(asker, block)
            }
            // Of a height that is not final nothing can be told.
            _ => false,
        };
        let refused = !entitled || !self.local.asked_by.may_ask(asker, who.rank());
        if refused {
            self.gate.in_vain(from, QUESTION_BYTES);
        }
        refused
    }
}
