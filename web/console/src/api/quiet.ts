// When nothing is asked for any more: what can wait begins then. A browser has six connections to a server, and what is looked at goes first.

const settleMs = 100; // one answer brings the next question
const mostMs = 5_000; // what can wait does not wait for ever

let calls = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let waiting: (() => void)[] = [];

function settle(): void {
  clearTimeout(timer);
  if (calls > 0 || waiting.length === 0) return;
  timer = setTimeout(() => {
    for (const go of waiting.splice(0)) go();
  }, settleMs);
}

/** Counts a call as under way until the returned function is called. */
export function underWay(): () => void {
  calls++;
  clearTimeout(timer);
  return () => {
    calls--;
    settle();
  };
}

/** Waits until no call is under way, a few seconds at most. */
export function quiet(): Promise<void> {
  return new Promise((go) => {
    waiting.push(go);
    setTimeout(go, mostMs);
    settle();
  });
}
