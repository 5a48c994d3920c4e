import java.util.concurrent.TimeUnit;
import javax.jms.*;
import org.apache.activemq.ActiveMQConnectionFactory;

/** A program that speaks JMS and knows nothing of wattbus: a durable subscriber, and one that sends a request. */
public class JmsClient {
    public static void main(String[] args) throws Exception {
        Connection c = new ActiveMQConnectionFactory(args[1]).createConnection();
        if (args[0].equals("subscribe")) {
            subscribe(c, args[2]);
        } else {
            request(c, args[2], args[3], args[4], args[5], Integer.parseInt(args[6]));
        }
    }

    /** Prints a line for each message, then acknowledges it, until it is killed. */
    static void subscribe(Connection c, String topic) throws Exception {
        c.setClientID("billing");
        Session s = c.createSession(false, Session.CLIENT_ACKNOWLEDGE);
        MessageConsumer in = s.createDurableSubscriber(s.createTopic(topic), "readings");
        c.start();
        System.out.println("ready");
        for (;;) {
            Message m = in.receive();
            if (m == null) {
                return;
            }
            TextMessage t = (TextMessage) m;
            System.out.println("got " + m.getStringProperty("ce_id") + " " + m.getStringProperty("JMSXGroupID") + " " + m.getJMSType() + " "
                + (m.getJMSDeliveryMode() == DeliveryMode.PERSISTENT) + " " + t.getText());
            System.out.flush();
            m.acknowledge();
        }
    }

    /** Sends a request with JMSReplyTo, JMSCorrelationID and a token, so many times with the same JMSMessageID property, and prints each answer. */
    static void request(Connection c, String queue, String token, String key, String body, int times) throws Exception {
        Session s = c.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Queue answers = s.createTemporaryQueue();
        MessageConsumer in = s.createConsumer(answers);
        c.start();
        MessageProducer out = s.createProducer(s.createQueue(queue));
        for (int i = 0; i < times; i++) {
            TextMessage m = s.createTextMessage(body);
            m.setJMSReplyTo(answers);
            m.setJMSCorrelationID("order-" + i);
            m.setStringProperty("wattbus_token", token);
            if (!key.isEmpty()) {
                m.setStringProperty("wattbus_key", key);
            }
            out.send(m);
            TextMessage a = (TextMessage) in.receive(TimeUnit.SECONDS.toMillis(60));
            System.out.println(a == null ? "no answer" : "answer " + a.getJMSCorrelationID() + " " + a.getStringProperty("wattbus_status") + " " + a.getText());
            System.out.flush();
        }
        c.close();
    }
}
