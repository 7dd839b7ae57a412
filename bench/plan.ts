/** How long, how often and at how many connections the subjects are measured. */
export interface Plan {
  rounds: number;
  /**
   * How often two builds take turns. One turn is not enough: a machine's good and bad minutes differ by more than the
   * builds.
   */
  pairs: number;
  warmUpMs: number;
  measureMs: number;
  connections: readonly number[];
  replayedKeys: number;
  /** Whether the targets count. If not, a run only shows that every subject answers and that the counts are right. */
  judged: boolean;
}

/** Three rounds of all subjects, in about seven minutes. */
export const FULL: Plan = {
  rounds: 3,
  pairs: 6,
  warmUpMs: 1_500,
  measureMs: 5_000,
  connections: [1, 64, 256],
  replayedKeys: 1_000,
  judged: true,
};

export const QUICK: Plan = {
  ...FULL,
  rounds: 1,
  pairs: 2,
  warmUpMs: 1_000,
  measureMs: 2_000,
  connections: [1, 64],
};

/** Too short to measure anything. 64 connections make groups and queues form. */
export const CHECK: Plan = {
  rounds: 1,
  pairs: 1,
  warmUpMs: 200,
  measureMs: 800,
  connections: [64],
  replayedKeys: 50,
  judged: false,
};
