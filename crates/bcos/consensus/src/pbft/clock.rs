//! When to lose patience.

use super::Pbft;
use crate::api::Effect;

/// View changes after which time-outs do not grow any more.
const MAX_CYCLE: u32 = 6;

impl Pbft {
    /// The time-out in force: one and a half times as long with every view change in a row.
    pub(super) fn timeout(&self) -> u64 {
        let cycle = self.cycle.min(MAX_CYCLE);
        self.config.timeout_ms.saturating_mul(3u64.pow(cycle)) / 2u64.pow(cycle)
    }

    pub(super) fn clock(&mut self) {
        if self.me.is_none() {
            return;
        }
        if std::mem::take(&mut self.progressed) {
            self.deadline = None;
            self.retry_at = None;
            self.retry_after = self.config.retry_ms;
            self.suspecting = false;
        }
        let waiting = self.waiting();
        if waiting {
            let deadline = *self.deadline.get_or_insert(self.now + self.timeout());
            if deadline <= self.now {
                self.deadline = Some(self.now + self.timeout());
                self.suspect();
            } else if self.leader_is_gone() {
                self.suspect();
            }
        } else {
            self.deadline = None;
            self.suspecting = false;
        }
        let stuck = waiting || !self.slots.is_empty() || self.held.is_some();
        if stuck {
            let retry_at = *self.retry_at.get_or_insert(self.now + self.retry_after);
            if retry_at <= self.now {
                self.retry_after = (self.retry_after * 2).min(8 * self.config.retry_ms);
                self.retry_at = Some(self.now + self.retry_after);
                self.help();
            }
        } else {
            self.retry_at = None;
            self.retry_after = self.config.retry_ms;
        }
        let next = [self.deadline, self.retry_at].into_iter().flatten().min();
        if next != self.timer {
            self.timer = next;
            if let Some(at_ms) = next {
                self.out.push(Effect::Timer { at_ms });
            }
        }
    }

    /// Whether a leader owes something: an order for what is under way, or a proposal for waiting transactions.
    /// Slow execution is not the leader's fault.
    fn waiting(&self) -> bool {
        if !self.entered {
            return true;
        }
        let tip = self.tip().number;
        for number in tip + 1..=tip + self.config.window {
            let Some(slot) = self.slots.get(&number) else { return self.work };
            let Some((_, head)) = slot.ordered().and_then(|digest| slot.contents.get(&digest)) else {
                return self.work || slot.has_votes();
            };
            if self.is_barrier(head) {
                return false;
            }
        }
        false
    }

    /// Whether the member whose turn it is cannot be reached and has proposed nothing.
    fn leader_is_gone(&self) -> bool {
        if self.unreachable.is_empty() || self.suspecting {
            return false;
        }
        let tip = self.tip().number;
        let open = (tip + 1..=tip + self.config.window)
            .find(|number| self.slots.get(number).is_none_or(|slot| slot.current(self.view).is_none()));
        let mut number = open.unwrap_or(tip + 1);
        if !self.entered {
            // Whose turn it is to open the view depends on the highest final block anybody reported.
            let changes = self.peers.iter().filter_map(|peer| peer.change.as_ref());
            let tips = changes.filter(|(change, _)| change.view == self.view).map(|(change, _)| change.tip.number);
            number = tips.max().unwrap_or(tip) + 1;
        }
        let leader = self.settings.leader(number, self.view);
        self.settings.members.get(leader).is_some_and(|m| self.unreachable.contains(&m.node_id))
    }
}
