// What the platform's process uses, where the operating system tells: Linux's /proc.

import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { contract } from "./platform.mjs";

/** The process that listens on the platform's port: workerd. */
function platformPid() {
  const port = Number(new URL(contract.endpoint).port).toString(16).toUpperCase().padStart(4, "0");
  const LISTEN = "0A";
  const rows = readFileSync("/proc/net/tcp", "utf8").split("\n").map((line) => line.trim().split(/\s+/));
  const inode = rows.find(([, address, , state]) => address?.endsWith(`:${port}`) && state === LISTEN)?.[9];
  return readdirSync("/proc").find((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`);
    } catch {
      // it has ended, or is somebody else's
      return false;
    }
  });
}

/** A function that answers the bytes of the platform's process that are in memory; `undefined` where that can't be known. */
export function residentBytesOfPlatform() {
  if (process.platform !== "linux") return undefined;
  const pid = platformPid();
  if (pid === undefined) return undefined;
  return () => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1_024;
}
