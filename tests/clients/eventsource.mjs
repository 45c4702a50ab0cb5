import { EventSource } from "eventsource";
import { follow } from "./told.mjs";

follow(new EventSource(process.argv[2]));
