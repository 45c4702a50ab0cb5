import { EventSource } from "undici";
import { follow } from "./told.mjs";

follow(new EventSource(process.argv[2]));
// While it waits to reconnect, nothing of it keeps the program running.
setInterval(() => {}, 1000);
