// It tells the id of the last event in the query, not in the header.
import { EventSourcePolyfill } from "event-source-polyfill";
import { follow } from "./told.mjs";

follow(new EventSourcePolyfill(process.argv[2]));
