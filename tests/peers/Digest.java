import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.Authenticator;
import java.net.HttpURLConnection;
import java.net.PasswordAuthentication;
import java.net.URI;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

import static java.nio.charset.StandardCharsets.UTF_8;

/** Does the steps of tests/integration/digest_clients.py in one session of HttpURLConnection. */
public class Digest {
    public static void main(String[] arguments) throws Exception {
        List<String> lines = new BufferedReader(new InputStreamReader(System.in, UTF_8)).lines().toList();
        String base = lines.get(0), name = lines.get(1), password = lines.get(2);
        Authenticator.setDefault(new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(name, password.toCharArray());
            }
        });
        List<String> steps = lines.subList(5, lines.size());
        PrintStream out = new PrintStream(System.out, true, UTF_8);
        if (lines.get(4).equals("together")) {
            out.println(take(base, steps.get(0)));
            ExecutorService threads = Executors.newFixedThreadPool(20);
            for (Future<String> body : threads.invokeAll(steps.stream().skip(1).map(step -> call(base, step)).toList())) {
                out.println(body.get());
            }
            threads.shutdown();
        } else {
            steps.forEach(step -> out.println(take(base, step)));
        }
    }

    private static Callable<String> call(String base, String step) {
        return () -> take(base, step);
    }

    private static String take(String base, String step) {
        try {
            String[] parts = step.split("\t", 2);
            var connection = (HttpURLConnection) URI.create(base + parts[0]).toURL().openConnection();
            connection.setConnectTimeout(20_000);
            connection.setReadTimeout(20_000);
            if (parts.length == 2) {
                connection.setDoOutput(true);
                connection.setRequestProperty("Content-Type", "text/plain");
                connection.getOutputStream().write(parts[1].getBytes(UTF_8));
            }
            boolean in = connection.getResponseCode() < 400;
            try (InputStream body = in ? connection.getInputStream() : connection.getErrorStream()) {
                return new String(body.readAllBytes(), UTF_8);
            }
        } catch (IOException error) {
            return "{\"error\": \"" + error.getClass().getSimpleName() + "\"}";
        }
    }
}
